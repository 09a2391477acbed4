//! The active controller dies.

use std::time::{Duration, Instant};

use milena_client::admin::NewTopic;

use crate::KILL_LIMIT;
use crate::scene::Scene;

/// From the death of the active controller to the answer of the next one, under the load of a test.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

#[test]
fn an_admin_call_waits_little_for_the_next_controller() {
    let mut scene = Scene::start(3);
    scene.progress(200, KILL_LIMIT);
    let quorum = scene.runtime.block_on(scene.admin.describe_quorum()).expect("it has a leader");
    let before = quorum.leader_id;
    let began = Instant::now();
    scene.cluster.kill(before);
    let new = NewTopic {
        name: "after".to_owned(),
        partitions: Some(3),
        // The dead one may not be fenced yet, so a copy on each of three would do as well; two always do.
        replication_factor: Some(2),
        ..NewTopic::default()
    };
    let created =
        scene.runtime.block_on(scene.admin.create_topics(&[new], false)).expect("a controller answers");
    let took = began.elapsed();
    assert!(created.iter().all(|(_, result)| result.is_ok()), "{created:?}");
    println!("the next controller answered {took:?} after the death of the first");
    assert!(took < ANSWER_LIMIT, "{took:?}");
    let quorum = scene.runtime.block_on(scene.admin.describe_quorum()).expect("it has a leader");
    assert_ne!(quorum.leader_id, before);
    scene.progress(300, KILL_LIMIT);
    scene.cluster.start_again(before);
    scene.until_whole();
    scene.finish(&[("kill -9 of the active controller", began)], KILL_LIMIT);
}
