use std::sync::atomic::{AtomicI64, Ordering};

use milena_log::Config;
use milena_protocol::types::Uuid;
use milena_state::config::topic;

use super::*;
use crate::partition::table::Topic;

fn topic(compact: bool) -> Topic {
    Topic {
        id: Uuid::from_u128(1),
        name: "t".into(),
        settings: Arc::new(topic::Settings::kafka_defaults()),
        log_config: Arc::new(Config { compact, ..Config::default() }),
        slots: Box::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_as_long_as_no_topic_is_compacted() {
    let (table, metrics) = (Arc::new(Table::new()), Arc::new(Metrics::new()));
    let (_in_force, settings) = watch::channel(Arc::new(Settings::own_defaults()));
    let looks = Arc::new(AtomicI64::new(0));
    let clock = {
        let looks = Arc::clone(&looks);
        Arc::new(move || looks.fetch_add(1, Ordering::SeqCst))
    };
    let cleaner = Cleaner::start(Arc::clone(&table), settings, metrics, clock);
    let hour = || tokio::time::sleep(Duration::from_secs(3600));
    table.put(topic(false));
    hour().await;
    assert_eq!(looks.load(Ordering::SeqCst), 0);
    table.put(topic(true));
    hour().await;
    let after_an_hour = looks.load(Ordering::SeqCst);
    assert!((239..=241).contains(&after_an_hour), "every 15 s: {after_an_hour}");
    table.remove(Uuid::from_u128(1));
    hour().await;
    let at_most_once_more = looks.load(Ordering::SeqCst) - after_an_hour;
    assert!(at_most_once_more <= 1, "{at_most_once_more}");
    cleaner.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stop_ends_all_cleaners_and_so_does_dropping() {
    let metrics = Arc::new(Metrics::new());
    let (_in_force, settings) = watch::channel(Arc::new(Settings::own_defaults()));
    let start = || Cleaner::start(Arc::default(), settings.clone(), Arc::clone(&metrics), Arc::new(|| 0));
    let cleaner = start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(Arc::strong_count(&metrics), 2, "what the cleaners share holds it too");
    cleaner.stop().await;
    assert_eq!(Arc::strong_count(&metrics), 1);
    drop(start());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(Arc::strong_count(&metrics), 1);
}
