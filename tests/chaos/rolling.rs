//! Every node is stopped in order and started again, one after the other, as an upgrade does.

use std::time::Instant;

use crate::KILL_LIMIT;
use crate::scene::Scene;

#[test]
fn a_rolling_restart_fails_no_produce() {
    let mut scene = Scene::start(3);
    scene.progress(200, KILL_LIMIT);
    let mut restarts = Vec::new();
    for id in scene.cluster.ids() {
        restarts.push(("restart", Instant::now()));
        scene.cluster.stop(id);
        scene.progress(100, KILL_LIMIT);
        scene.cluster.start_again(id);
        scene.until_whole();
        scene.progress(100, KILL_LIMIT);
    }
    scene.finish(&restarts, KILL_LIMIT);
}
