//! One cleaner: looks, drives a pass, rests, until it is not wanted any more.

use std::collections::HashSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use milena_log::compaction::{Compaction, Failure, OffsetMap, Report};
use milena_protocol::types::Uuid;
use milena_state::config::cleaner::Settings;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::Instant;

use super::Orders;
use super::choice::{Chosen, choose};
use super::shared::{Key, Shared, key_of};
use crate::metrics::cleaning::Outcome;
use crate::partition::partition::Partition;

pub(super) struct Run {
    shared: Arc<Shared>,
    index: usize,
    orders: Orders,
    compacted: watch::Receiver<std::collections::BTreeSet<Uuid>>,
    /// Kept from one pass to the next, with the bytes and the load factor that it was made for.
    map: Option<(OffsetMap, usize, f64)>,
    /// Failed since the last rest; the others come first.
    left_out: HashSet<Key>,
}

impl Run {
    pub fn new(shared: Arc<Shared>, index: usize, orders: Orders) -> Self {
        let compacted = shared.table.compacted();
        Self { shared, index, orders, compacted, map: None, left_out: HashSet::new() }
    }

    pub async fn run(mut self) {
        while self.is_wanted() {
            let settings = self.orders.in_force.borrow_and_update().cleaner;
            match self.choose(settings).await {
                Some(chosen) => self.clean(chosen, &settings).await,
                None => self.rest(&settings).await,
            }
        }
    }

    fn is_wanted(&self) -> bool {
        !self.orders.is_stopping() && self.index < self.orders.threads()
    }

    async fn choose(&mut self, settings: Settings) -> Option<Chosen> {
        if self.compacted.borrow_and_update().is_empty() {
            return None;
        }
        let (shared, left_out) = (Arc::clone(&self.shared), std::mem::take(&mut self.left_out));
        let (chosen, left_out) = blocking(move || (choose(&shared, &settings, &left_out), left_out))
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        self.left_out = left_out;
        chosen
    }

    /// Waits until a look may find something. Without a compacted topic only another one, or an order, ends it.
    async fn rest(&mut self, settings: &Settings) {
        self.left_out.clear();
        if let Some((map, ..)) = &mut self.map {
            map.release();
        }
        let is_idle = self.compacted.borrow_and_update().is_empty();
        let backoff = Duration::from_millis(settings.backoff_ms.max(1));
        tokio::select! {
            () = self.orders.changed() => {}
            Ok(()) = self.compacted.changed(), if is_idle => {}
            () = tokio::time::sleep(backoff), if !is_idle => {}
        }
    }

    /// One pass, with what it means to log, metrics and later looks.
    async fn clean(&mut self, chosen: Chosen, settings: &Settings) {
        let partition = Arc::clone(&chosen.partition);
        let began = Instant::now();
        let outcome = match self.pass(&chosen, settings).await {
            Ok(report) => {
                let seconds = began.elapsed().as_secs_f64();
                log_report(&partition, &report, seconds);
                self.shared.metrics.cleaning.passed(self.index, &report, seconds, (self.shared.clock)());
                Outcome::Done
            }
            Err(failure) => {
                self.shared.failed(&partition, &failure);
                self.left_out.insert(key_of(&partition));
                if matches!(failure, Failure::Overtaken) { Outcome::Interrupted } else { Outcome::Failed }
            }
        };
        self.shared.metrics.cleaning.ended(outcome);
    }

    async fn pass(&mut self, chosen: &Chosen, settings: &Settings) -> Result<Report, Failure> {
        let Chosen { partition, dirty, .. } = chosen;
        let (dirty, map, now_ms) = (*dirty, self.take_map(settings), (self.shared.clock)());
        let buffer_bytes = settings.buffer_bytes_per_thread();
        let mut pass = self
            .on(partition, move |partition| partition.begin_compaction(dirty, map, buffer_bytes, now_ms))
            .await?;
        let mut told = Report::default();
        loop {
            let (advanced, back) =
                self.on(partition, move |partition| (partition.advance_compaction(&mut pass), pass)).await;
            pass = back;
            self.tell(&mut told, pass.report());
            let stopped = match advanced {
                Ok(None) => {
                    let report = *pass.report();
                    self.keep_map(pass, settings);
                    return Ok(report);
                }
                Ok(Some(bytes)) => {
                    self.pay(bytes, partition).await;
                    let goes_on = self.is_wanted() && !partition.is_offline();
                    (!goes_on).then_some(Failure::Overtaken)
                }
                Err(failure) => Some(failure),
            };
            if let Some(failure) = stopped {
                // Removing what it wrote is work for the disk.
                self.on(partition, move |_| drop(pass)).await;
                return Err(failure);
            }
        }
    }

    /// Does work that may wait for the disk. A panic in it ends this cleaner, and the partition's turn for good.
    async fn on<T: Send + 'static>(
        &self,
        partition: &Arc<Partition>,
        work: impl FnOnce(&Partition) -> T + Send + 'static,
    ) -> T {
        let worked = {
            let partition = Arc::clone(partition);
            blocking(move || work(&partition)).await
        };
        worked.unwrap_or_else(|panic| {
            self.shared.panicked(partition);
            std::panic::resume_unwind(panic.into_panic())
        })
    }

    /// Waits for as long as the speed limit asks, unless an order comes or the partition goes away or changes its role.
    async fn pay(&mut self, bytes: u64, partition: &Partition) {
        let limit = self.orders.in_force.borrow_and_update().cleaner.io_bytes_per_second_max;
        let wait_ms = self.shared.wait_ms(bytes, limit);
        if wait_ms == 0 {
            return;
        }
        let role = partition.high_watermark();
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
            () = self.orders.changed() => {}
            _ = role.reached(i64::MAX) => {}
        }
    }

    fn tell(&self, told: &mut Report, report: &Report) {
        let cleaning = &self.shared.metrics.cleaning;
        cleaning.moved(report.bytes_read - told.bytes_read, report.bytes_written - told.bytes_written);
        *told = *report;
    }

    fn take_map(&mut self, settings: &Settings) -> OffsetMap {
        let wanted = (settings.map_bytes_per_thread(), settings.map_load_factor);
        match self.map.take() {
            Some((map, bytes, load_factor)) if (bytes, load_factor) == wanted => map,
            _ => OffsetMap::new(wanted.0, wanted.1),
        }
    }

    fn keep_map(&mut self, pass: Compaction, settings: &Settings) {
        self.map = Some((pass.into_map(), settings.map_bytes_per_thread(), settings.map_load_factor));
    }
}

/// Runs on the blocking pool. Errors: a panic. When the runtime ends this does not.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    match tokio::task::spawn_blocking(work).await {
        Err(error) if !error.is_panic() => pending().await,
        outcome => outcome,
    }
}

fn log_report(partition: &Partition, report: &Report, seconds: f64) {
    tracing::info!(
        topic = %partition.topic(), partition = partition.index(), cleaned_upto = report.cleaned_upto, seconds,
        is_partial = report.is_partial, dirty_ratio = report.dirty_ratio,
        segments_before = report.segments_before, segments_after = report.segments_after,
        bytes_read = report.bytes_read, bytes_written = report.bytes_written,
        records_dropped = report.records_dropped(), "log compacted"
    );
    if report.records_keyless > 0 {
        tracing::warn!(
            topic = %partition.topic(), partition = partition.index(), records = report.records_keyless,
            "records without a key went with the compaction"
        );
    }
}
