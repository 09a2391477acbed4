//! Clusters of several nodes as users have them: made by `milena up`, looked at, hurt and mended with the command line.

mod cut_off;
mod log_dirs;
mod nodes;
mod properties;
mod quorum;
mod readme;
mod registration;
#[path = "../cli/said.rs"]
mod said;
mod status;
mod throttle;
mod up;
