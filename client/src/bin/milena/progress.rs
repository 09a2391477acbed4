//! Signs of life on standard error, for whatever takes longer than a second. Only on a terminal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget};

/// Nobody wonders before.
const SILENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

/// Awaits `work`; says `what` is going on when it takes long.
pub async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(SILENCE, &mut work).await {
        return done;
    }
    let spinner = spinner();
    spinner.set_message(what.to_owned());
    spinner.enable_steady_tick(TICK);
    let done = work.await;
    spinner.finish_and_clear();
    done
}

fn spinner() -> ProgressBar {
    // The target is hidden by itself where standard error is no terminal.
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
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
    /// `verb` is what happens to the records, such as "written". Records that are shown on the same terminal are
    /// progress enough, so nothing is drawn then.
    pub fn new(verb: &'static str, records_on_stdout: bool) -> Self {
        let enabled =
            std::io::stderr().is_terminal() && !(records_on_stdout && std::io::stdout().is_terminal());
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
        let spinner = self.shown.get_or_insert_with(spinner);
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
