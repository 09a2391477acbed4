//! A membership that stands: heartbeats go out, and what ends it is noticed, also while nobody polls.

use std::sync::Arc;

use milena_protocol::ErrorCode;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::clock::PollClock;
use super::link::Link;
use super::task::Task;
use super::topics::Watched;
use super::wire::{self, Identity};
use crate::config::GroupConfig;
use crate::error::Error;

/// What a member must react to.
#[derive(Debug, Clone)]
pub(super) enum Notice {
    /// Nothing.
    Fine,
    /// The group rebalances, or has reason to.
    Rejoin(&'static str),
    /// The group goes on without this member.
    Lost { error: Error, keeps_id: bool },
    /// Another member has taken its place, or it may not be in the group: there is no way back.
    Fatal(Error),
}

/// Dropping it stops the heartbeats.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) identity: Identity,
    notices: Arc<watch::Sender<Notice>>,
    news: watch::Receiver<Notice>,
    _heartbeats: Task<()>,
    _topics: Task<()>,
}

impl Session {
    /// Begins to send heartbeats over the connection that the member joined with, and to watch the topics.
    pub(super) fn start(
        link: Link,
        config: Arc<GroupConfig>,
        identity: Identity,
        clock: Arc<PollClock>,
        watched: Watched,
    ) -> Self {
        let (notices, news) = watch::channel(Notice::Fine);
        let notices = Arc::new(notices);
        let cluster = link.cluster().clone();
        let heart = Heart { link, config, identity: identity.clone(), clock, notices: Arc::clone(&notices) };
        let changes = Arc::clone(&notices);
        let topics = async move {
            watched.changed(&cluster).await;
            rejoin(&changes, "topics or their partitions have changed");
        };
        Self { identity, notices, news, _heartbeats: Task::spawn(heart.beat()), _topics: Task::spawn(topics) }
    }

    /// Has the member rejoin when it is next polled.
    pub(super) fn rejoin(&self, reason: &'static str) {
        rejoin(&self.notices, reason);
    }

    /// Waits for something to react to. Dropping the future loses nothing.
    pub(super) async fn notice(&mut self) -> Notice {
        let heard = self.news.wait_for(|notice| !matches!(notice, Notice::Fine)).await;
        // The sender lives as long as this.
        heard.map(|notice| notice.clone()).unwrap_or(Notice::Fine)
    }
}

/// What is worse than a rebalance stays.
fn rejoin(notices: &watch::Sender<Notice>, reason: &'static str) {
    notices.send_if_modified(|notice| {
        let is_news = matches!(notice, Notice::Fine);
        if is_news {
            *notice = Notice::Rejoin(reason);
        }
        is_news
    });
}

struct Heart {
    link: Link,
    config: Arc<GroupConfig>,
    identity: Identity,
    clock: Arc<PollClock>,
    notices: Arc<watch::Sender<Notice>>,
}

impl Heart {
    async fn beat(mut self) {
        let clock = Arc::clone(&self.clock);
        let ended = tokio::select! {
            notice = self.until_it_ends() => Some(notice),
            () = clock.expired() => None,
        };
        let notice = match ended {
            Some(notice) => notice,
            None => self.leave_unpolled().await,
        };
        self.notices.send_replace(notice);
    }

    /// Heartbeats until the membership is over.
    async fn until_it_ends(&mut self) -> Notice {
        let client = self.link.cluster().config();
        let (backoff, backoff_max) = (client.retry_backoff, client.retry_backoff_max);
        let interval = self.config.heartbeat_interval;
        let mut pause = backoff;
        let mut due = Instant::now() + interval;
        loop {
            sleep_until(due).await;
            let sent = Instant::now();
            let answer = wire::heartbeat(&mut self.link, &self.config, &self.identity).await;
            match judge(answer) {
                Judged::Alive => (due, pause) = (sent + interval, backoff),
                Judged::Rebalancing => {
                    rejoin(&self.notices, "the group rebalances");
                    (due, pause) = (sent + interval, backoff);
                }
                Judged::Unheard(error) => {
                    tracing::debug!(%error, group = self.link.group_id(), "a heartbeat was not heard");
                    due = Instant::now() + pause;
                    pause = (pause * 2).min(backoff_max);
                }
                Judged::Over(notice) => return notice,
            }
        }
    }

    /// The caller was away for too long: others should have its partitions. Static members stay until their session
    /// expires, as in Kafka's client.
    async fn leave_unpolled(&mut self) -> Notice {
        let limit = self.config.max_poll_interval;
        tracing::warn!(
            group = self.link.group_id(),
            max_poll_interval_ms = limit.as_millis() as u64,
            "not polled for max.poll.interval.ms, leaving the group"
        );
        if self.config.group_instance_id.is_none() {
            let reason = "the consumer was not polled for max.poll.interval.ms";
            if let Err(error) = wire::leave(&mut self.link, &self.identity.member_id, reason).await {
                tracing::debug!(%error, "leaving failed, the session will expire");
            }
        }
        let error = Error::TimedOut {
            what: "the time between two polls".to_owned(),
            timeout_ms: limit.as_millis() as u64,
        };
        Notice::Lost { error, keeps_id: false }
    }
}

enum Judged {
    Alive,
    Rebalancing,
    /// The coordinator could not be asked; the next heartbeat may reach it.
    Unheard(Error),
    Over(Notice),
}

fn judge(answer: Result<(), Error>) -> Judged {
    let Err(error) = answer else { return Judged::Alive };
    match error.code() {
        Some(ErrorCode::RebalanceInProgress) => Judged::Rebalancing,
        Some(ErrorCode::IllegalGeneration) => Judged::Over(Notice::Lost { error, keeps_id: true }),
        Some(ErrorCode::UnknownMemberId) => Judged::Over(Notice::Lost { error, keeps_id: false }),
        _ if error.may_be_retried() => Judged::Unheard(error),
        _ => Judged::Over(Notice::Fatal(error)),
    }
}
