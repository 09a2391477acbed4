//! Signs of life on standard error, for whatever takes longer than a second. Only on a terminal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Nobody wonders before.
const SILENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

/// The library's own template has a bar of unknown length and leaves the message out.
const TEMPLATE: &str = "{spinner} {msg}";

/// Awaits `work`; says `what` is going on when it takes long.
pub async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(SILENCE, &mut work).await {
        return done;
    }
    let spinner = spinner(ProgressDrawTarget::stderr());
    spinner.set_message(what.to_owned());
    spinner.enable_steady_tick(TICK);
    let done = work.await;
    spinner.finish_and_clear();
    done
}

/// The target of standard error is hidden by itself where that is no terminal.
fn spinner(target: ProgressDrawTarget) -> ProgressBar {
    let style = ProgressStyle::with_template(TEMPLATE).expect("the template is sound");
    ProgressBar::with_draw_target(None, target).with_style(style)
}

/// Counts records and bytes.
pub struct Counter {
    verb: &'static str,
    since: Instant,
    shown: Option<ProgressBar>,
    enabled: bool,
    records: u64,
    bytes: u64,
}

impl Counter {
    /// `verb` is what happens to the records, such as "written". Nothing is drawn when the records themselves are on
    /// the terminal, because they are shown there or typed there: they are progress enough.
    pub fn new(verb: &'static str, records_on_terminal: bool) -> Self {
        let enabled = std::io::stderr().is_terminal() && !records_on_terminal;
        Self { verb, since: Instant::now(), shown: None, enabled, records: 0, bytes: 0 }
    }

    pub fn add(&mut self, records: u64, bytes: u64) {
        self.records += records;
        self.bytes += bytes;
        let elapsed = self.since.elapsed();
        if !self.enabled || elapsed < SILENCE {
            return;
        }
        let per_second = self.bytes as f64 / elapsed.as_secs_f64();
        let spinner = self.shown.get_or_insert_with(|| spinner(ProgressDrawTarget::stderr()));
        let (bytes, rate) = (HumanBytes(self.bytes), HumanBytes(per_second as u64));
        spinner.set_message(format!("{} records {}, {bytes}, {rate}/s", self.records, self.verb));
        spinner.tick();
    }

    pub fn records(&self) -> u64 {
        self.records
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        if let Some(spinner) = &self.shown {
            spinner.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// A terminal that keeps what is written.
    #[derive(Debug, Clone, Default)]
    struct Paper(Arc<Mutex<String>>);

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().expect("no test panics with it").push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_going_on_can_be_read() {
        let paper = Paper::default();
        let spinner = spinner(ProgressDrawTarget::term_like(Box::new(paper.clone())));
        spinner.set_message("7 records written");
        spinner.tick();
        let shown = paper.0.lock().expect("no test panics with it").clone();
        assert!(shown.contains("7 records written") && !shown.contains("0/0"), "{shown}");
    }
}
