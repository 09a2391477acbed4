//! Waiting until a node says that clients may come: `/readyz` on its HTTP port.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// One question takes a millisecond; a node that is stopped in the middle of one must not hold up the next.
const QUESTION_TIME_MAX: Duration = Duration::from_secs(1);
/// Pauses between questions: short at first, because nodes are ready in tens of milliseconds, and then cheap.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(20);

const STATUS_BYTES: usize = 12;
const QUESTION: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";

/// Why a node is not ready.
#[derive(Debug, PartialEq, Eq)]
pub enum NotReady {
    Ended(ExitStatus),
    TimedOut,
}

/// Asks until the node is ready, has ended, or `limit` has passed.
pub async fn wait(
    port: u16,
    limit: Duration,
    mut ended: impl FnMut() -> Option<ExitStatus>,
) -> Result<(), NotReady> {
    let deadline = Instant::now() + limit;
    let mut pause = PAUSE_MIN;
    loop {
        if let Some(status) = ended() {
            return Err(NotReady::Ended(status));
        }
        if matches!(tokio::time::timeout(QUESTION_TIME_MAX, is_ready(port)).await, Ok(Ok(true))) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(NotReady::TimedOut);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn is_ready(port: u16) -> io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(QUESTION).await?;
    let mut status = [0; STATUS_BYTES];
    stream.read_exact(&mut status).await?;
    Ok(&status == b"HTTP/1.1 200")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A node that answers each question with the next of these.
    async fn node(answers: &'static [&'static str]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a question");
                let mut question = vec![0; QUESTION.len()];
                stream.read_exact(&mut question).await.expect("a question");
                stream.write_all(answer.as_bytes()).await.expect("it listens");
            }
        });
        port
    }

    #[tokio::test]
    async fn a_node_is_asked_until_it_is_ready() {
        let port = node(&["HTTP/1.1 503 Service Unavailable\r\n\r\n", "", "HTTP/1.1 200 OK\r\n\r\n"]).await;
        assert_eq!(wait(port, PATIENCE, || None).await, Ok(()));
    }

    #[tokio::test]
    async fn one_that_has_ended_is_not_waited_for() {
        let port = node(&[]).await;
        let ended = || Some(ExitStatus::from_raw(256));
        assert_eq!(wait(port, PATIENCE, ended).await, Err(NotReady::Ended(ExitStatus::from_raw(256))));
    }

    #[tokio::test]
    async fn patience_ends() {
        let port = node(&[]).await;
        assert_eq!(wait(port, Duration::from_millis(5), || None).await, Err(NotReady::TimedOut));
    }
}
