//! Producer ids for idempotent producers, out of blocks that the controller gives to this broker (KIP-730).
//!
//! While one block is used the next is fetched, so that a producer rarely waits and ids last through a short absence
//! of the controller. What is left of a block at the end of the process is never used again.

use std::sync::Arc;
use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_state::metadata::producer_ids::{AllocateProducerIds, Block};
use milena_state::metadata::{Command, Reply};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::client::Client;
use crate::metadata::Metadata;

/// The next block is asked for when fewer than this many ids are left.
const REFILL_BELOW: i32 = 200;
/// A producer waits this long for a block before it is told to try again.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Hands out producer ids; shared by all reactors.
pub struct ProducerIds {
    client: Client,
    metadata: Arc<Metadata>,
    broker_id: i32,
    background: Handle,
    blocks: Mutex<Blocks>,
    /// Told when an allocation has ended, well or not.
    ended: Notify,
}

#[derive(Default)]
struct Blocks {
    current: Option<Block>,
    next: Option<Block>,
    is_asking: bool,
    /// Why the last allocation failed; cleared by one that does not.
    failed: Option<ErrorCode>,
}

impl ProducerIds {
    pub fn new(client: Client, metadata: Arc<Metadata>, broker_id: i32, background: Handle) -> Arc<Self> {
        let blocks = Mutex::default();
        Arc::new(Self { client, metadata, broker_id, background, blocks, ended: Notify::new() })
    }

    /// An id that nobody had before.
    ///
    /// Errors: COORDINATOR_LOAD_IN_PROGRESS, which clients retry, while the controller gives no block.
    pub async fn next(self: &Arc<Self>) -> Result<i64, ErrorCode> {
        let deadline = tokio::time::Instant::now() + WAIT_MAX;
        loop {
            // Registered before looking, so that an allocation ending in between is not missed.
            let ended = self.ended.notified();
            match self.take() {
                Taken::Id(id) => return Ok(id),
                Taken::Failed => return Err(ErrorCode::CoordinatorLoadInProgress),
                Taken::Wait => {}
            }
            if tokio::time::timeout_at(deadline, ended).await.is_err() {
                return Err(ErrorCode::CoordinatorLoadInProgress);
            }
        }
    }

    /// Asks for the first block ahead of the first producer.
    pub fn prefetch(self: &Arc<Self>) {
        let mut blocks = self.blocks.lock();
        self.ask_when_low(&mut blocks);
    }

    fn take(self: &Arc<Self>) -> Taken {
        let mut blocks = self.blocks.lock();
        if blocks.current.is_none_or(|block| block.count == 0) {
            blocks.current = blocks.next.take();
        }
        let failed = blocks.failed.take().is_some();
        let id = blocks.current.as_mut().map(|block| {
            let id = block.first;
            *block = Block { first: block.first + 1, count: block.count - 1 };
            id
        });
        match id {
            Some(id) => {
                self.ask_when_low(&mut blocks);
                Taken::Id(id)
            }
            None if failed => Taken::Failed,
            None => {
                self.ask_when_low(&mut blocks);
                Taken::Wait
            }
        }
    }

    fn ask_when_low(self: &Arc<Self>, blocks: &mut Blocks) {
        let left = blocks.current.map_or(0, |block| block.count);
        if left < REFILL_BELOW && blocks.next.is_none() && !blocks.is_asking {
            blocks.is_asking = true;
            let this = Arc::clone(self);
            self.background.spawn(async move { this.ask().await });
        }
    }

    async fn ask(&self) {
        let allocated = self.allocate().await;
        {
            let mut blocks = self.blocks.lock();
            blocks.is_asking = false;
            match allocated {
                Ok(block) => blocks.next = Some(block),
                Err(error) => {
                    tracing::warn!(?error, "no block of producer ids from the controller");
                    blocks.failed = Some(error);
                }
            }
        }
        self.ended.notify_waiters();
    }

    async fn allocate(&self) -> Result<Block, ErrorCode> {
        let broker_epoch =
            self.metadata.image().broker(self.broker_id).map_or(-1, |broker| broker.broker_epoch);
        let command = AllocateProducerIds { broker_id: self.broker_id, broker_epoch };
        let committed =
            self.client.submit(Command::AllocateProducerIds(command)).await.map_err(|e| e.code())?;
        match committed.reply {
            Reply::AllocateProducerIds(Ok(block)) => Ok(block),
            Reply::AllocateProducerIds(Err(error)) => Err(error.code),
            _ => Err(ErrorCode::UnknownServerError),
        }
    }
}

enum Taken {
    Id(i64),
    Wait,
    Failed,
}
