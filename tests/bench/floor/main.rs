//! The floor: a throw-away broker that shows what this machine can do when almost nothing is done.
//!
//! One thread answers ApiVersions, Metadata, FindCoordinator, CreateTopics, DeleteTopics, InitProducerId, Produce, Fetch and
//! ListOffsets for librdkafka: it checks the CRC, assigns offsets, writes each request with one `pwrite` and sends
//! files with `sendfile`. There is no durability, recovery, idempotence, security or limit here, and no code
//! of Milena, so it moves only when someone finds a cheaper way to do that little. Benchmarks quote the
//! distance between the broker and this program in the same run.
//!
//! `floor PORT DIRECTORY [--segment-bytes N] [--retention-bytes N]`

mod api;
mod connection;
mod log;
mod syscalls;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

struct Arguments {
    port: u16,
    directory: PathBuf,
    limits: log::Limits,
}

fn arguments() -> Option<Arguments> {
    let mut rest = std::env::args().skip(1);
    let mut found = Arguments {
        port: rest.next()?.parse().ok()?,
        directory: rest.next()?.into(),
        limits: log::Limits { segment_bytes: 1 << 30, retention_bytes: u64::MAX },
    };
    while let Some(name) = rest.next() {
        let value = rest.next()?.parse().ok()?;
        match name.as_str() {
            "--segment-bytes" => found.limits.segment_bytes = value,
            "--retention-bytes" => found.limits.retention_bytes = value,
            _ => return None,
        }
    }
    Some(found)
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: floor PORT DIRECTORY [--segment-bytes N] [--retention-bytes N]");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match tokio::task::LocalSet::new().block_on(&runtime, serve(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> std::io::Result<()> {
    std::fs::create_dir_all(&arguments.directory)?;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], arguments.port)).into())?;
    socket.listen(4096)?;
    let listener = tokio::net::TcpListener::from_std(socket.into())?;
    let broker = Rc::new(api::Broker::new(arguments.port, arguments.directory, arguments.limits));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let broker = Rc::clone(&broker);
        tokio::task::spawn_local(async move {
            // Whatever ends a connection, the client sees it closed; a floor keeps no log.
            let _ = connection::run(stream, &broker).await;
        });
    }
}
