//! The rules of one partition: what the log's ends, the followers and the controller's word mean.
//!
//! The log itself is the hard state and belongs to `milena-log`; here are the numbers around it.
//! [`leader`] moves the high watermark and proposes changes of the in-sync replicas, [`isr`] holds
//! the rules both need, [`follower`] decides where a follower truncates,
//! [`fetch_plan`] what it asks its leader for, [`reads`] what a reader
//! may see, [`validate`] checks what producers send, [`acks`] what their answers wait for; [`throttle`]
//! says which followers wait so that others are not slowed, [`relocation`] how a replica moves between directories, [`identity`] tells a folder whose name tag was damaged from one of another topic, [`each_once`] what a request repeats.

pub mod acks;
pub mod each_once;
pub mod fetch_plan;
pub mod follower;
pub mod identity;
pub mod isr;
pub mod leader;
pub mod reads;
pub mod relocation;
pub mod throttle;
pub mod validate;
