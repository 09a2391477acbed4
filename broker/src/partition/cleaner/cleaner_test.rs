use milena_log::Config;
use milena_protocol::types::Uuid;
use milena_state::config::topic;
use tokio::time::{Instant, timeout};

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

/// How long nothing may happen before a test says that it does not.
const HOUR: Duration = Duration::from_secs(3_600);

/// The clock stands as long as a look is under way; it goes on by itself to whatever is waited for next.
#[tokio::test(start_paused = true)]
async fn nobody_looks_as_long_as_no_topic_is_compacted() {
    let (table, metrics) = (Arc::new(Table::new()), Arc::new(Metrics::new()));
    let (_in_force, settings) = watch::channel(Arc::new(Settings::own_defaults()));
    let (counted, mut looks) = watch::channel(0);
    let clock = Arc::new(move || {
        counted.send_modify(|count| *count += 1);
        0
    });
    let cleaner = Cleaner::start(Arc::clone(&table), settings, metrics, clock);
    table.put(topic(false));
    assert!(timeout(HOUR, looks.wait_for(|count| *count > 0)).await.is_err());
    table.put(topic(true));
    let began = Instant::now();
    looks.wait_for(|count| *count > 240).await.expect("the cleaner runs");
    let (every_15_s, took) = (HOUR, began.elapsed());
    assert!(every_15_s <= took && took < every_15_s + Duration::from_secs(1), "{took:?}");
    table.remove(Uuid::from_u128(1));
    let at_most_once_more = *looks.borrow() + 1;
    assert!(timeout(HOUR, looks.wait_for(|count| *count > at_most_once_more)).await.is_err());
    cleaner.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stop_ends_all_cleaners_and_so_does_dropping() {
    let metrics = Arc::new(Metrics::new());
    let (_in_force, settings) = watch::channel(Arc::new(Settings::own_defaults()));
    let start = || Cleaner::start(Arc::default(), settings.clone(), Arc::clone(&metrics), Arc::new(|| 0));
    let cleaner = start();
    assert_eq!(Arc::strong_count(&metrics), 2, "what the cleaners share holds it too");
    tokio::time::advance(Duration::from_secs(1)).await;
    cleaner.stop().await;
    assert_eq!(Arc::strong_count(&metrics), 1);
    let cleaner = start();
    tokio::time::advance(Duration::from_secs(1)).await;
    drop(cleaner);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while Arc::strong_count(&metrics) > 1 {
        assert!(std::time::Instant::now() < deadline, "cleaners go on that nobody holds");
        tokio::task::yield_now().await;
    }
}
