//! The brokers that are compared, each started as a process of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use milena_tests::{ports, process, wait};

const START_LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Milena,
    /// Milena with `milena.flush=durable`.
    Durable,
    /// An older build of Milena, the program that [`BEFORE`] names.
    Before,
    Floor,
    ApacheKafka,
}

const BEFORE: &str = "MILENA_BEFORE";

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Milena => "milena",
            Self::Durable => "milena durable",
            Self::Before => "before",
            Self::Floor => "floor",
            Self::ApacheKafka => "apache-kafka",
        }
    }

    pub fn peer(name: &str) -> Option<Self> {
        [Self::Milena, Self::Before, Self::Floor, Self::ApacheKafka]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// What a broker is started with.
#[derive(Clone, Default)]
pub struct Settings {
    /// Properties in Kafka's names, for Milena and Apache Kafka.
    pub properties: Vec<(String, String)>,
    /// Words for the floor's command line.
    pub floor: Vec<String>,
}

impl Settings {
    /// For loads that open thousands of connections at once: with the default of 50 the system refuses what the
    /// broker did not accept yet, and each refusal costs the client a second.
    pub fn crowded() -> Self {
        Self {
            properties: vec![("socket.listen.backlog.size".to_owned(), "4096".to_owned())],
            ..Self::default()
        }
    }
}

pub struct Contender {
    pub kind: Kind,
    pub bootstrap: String,
    pub port: u16,
    pub pid: u32,
    process: Process,
    /// Goes with the broker.
    _directory: tempfile::TempDir,
}

enum Process {
    Milena(Box<process::Broker>),
    Floor(Child),
    ApacheKafka { cluster: String },
}

impl Contender {
    /// Starts a broker with an empty directory below `root`.
    pub fn start(kind: Kind, settings: &Settings, root: &Path) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix(kind.name()).tempdir_in(root)?;
        let (process, port, pid) = match kind {
            Kind::Milena | Kind::Durable | Kind::Before => milena(kind, settings, directory.path())?,
            Kind::Floor => floor(settings, directory.path())?,
            Kind::ApacheKafka => apache_kafka(settings)?,
        };
        Ok(Self { kind, bootstrap: ports::address(port), port, pid, process, _directory: directory })
    }

    /// Milena's own handle, for scenarios that restart it.
    pub fn milena(&mut self) -> Option<&mut process::Broker> {
        match &mut self.process {
            Process::Milena(broker) => Some(broker),
            _ => None,
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        match &mut self.process {
            Process::Milena(_) => {}
            Process::Floor(child) => {
                // Both fail only when it has ended already.
                let _ = child.kill();
                let _ = child.wait();
            }
            Process::ApacheKafka { cluster } => {
                if let Err(error) = script(&["stop", cluster]) {
                    eprintln!("bench: apache-kafka could not be stopped: {error}");
                }
            }
        }
    }
}

fn milena(kind: Kind, settings: &Settings, directory: &Path) -> io::Result<(Process, u16, u32)> {
    let mut config = process::Config::at(directory);
    for (name, value) in &settings.properties {
        config = config.property(name, value);
    }
    if kind == Kind::Durable {
        config = config.property("milena.flush", "durable");
    }
    if kind == Kind::Before {
        let program = std::env::var_os(BEFORE);
        let missing = || io::Error::other(format!("{BEFORE} has to name the program of the older build"));
        config = config.program(Path::new(&program.ok_or_else(missing)?));
    }
    let broker = config.start()?;
    let (port, pid) = (broker.port(), broker.pid());
    Ok((Process::Milena(Box::new(broker)), port, pid))
}

/// The command that starts the floor.
pub fn floor_command(port: u16, directory: &Path) -> io::Result<Command> {
    let program = std::env::current_exe()?.with_file_name("floor");
    if !program.exists() {
        let how = "cargo build --release -p milena-tests --features floor --bin floor";
        return Err(io::Error::other(format!("{} is missing: {how}", program.display())));
    }
    let mut command = Command::new(program);
    command.arg(port.to_string()).arg(directory).stdin(Stdio::null());
    Ok(command)
}

fn floor(settings: &Settings, directory: &Path) -> io::Result<(Process, u16, u32)> {
    let port = ports::free();
    let child = floor_command(port, directory)?.args(&settings.floor).spawn()?;
    let pid = child.id();
    wait::poll(START_LIMIT, || std::net::TcpStream::connect(("127.0.0.1", port)).ok())
        .ok_or_else(|| io::Error::other("the floor did not start"))?;
    Ok((Process::Floor(child), port, pid))
}

fn apache_kafka(settings: &Settings) -> io::Result<(Process, u16, u32)> {
    // Its controller listens 1,001 ports higher, outside of the range that `ports` gives.
    let port = ports::free();
    let cluster = format!("bench-{}-{port}", std::process::id());
    let port_word = port.to_string();
    let mut words = vec!["start", "--name", &cluster, "--port", &port_word];
    let set: Vec<String> =
        settings.properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
    for property in set.iter().filter(|property| !property.starts_with("milena.")) {
        words.extend(["--set", property]);
    }
    script(&words)?;
    let pid = script(&["pid", &cluster, "1"])?.trim().parse().map_err(io::Error::other)?;
    Ok((Process::ApacheKafka { cluster }, port, pid))
}

fn script(words: &[&str]) -> io::Result<String> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "apache-kafka"].iter().collect();
    let path =
        std::env::var_os("MILENA_TESTS").map_or(path, |folder| Path::new(&folder).join("apache-kafka"));
    // The script's children keep its stdout open, so its output goes to a file rather than a pipe.
    let output = tempfile::NamedTempFile::new()?;
    let status = Command::new(&path).args(words).stdin(Stdio::null()).stdout(output.reopen()?).status()?;
    if !status.success() {
        return Err(io::Error::other(format!("{} {} failed", path.display(), words.join(" "))));
    }
    std::fs::read_to_string(output.path())
}
