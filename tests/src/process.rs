//! The broker as a process: found or built, started on free ports, stopped, killed, restarted.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::syscalls::signal;
use crate::{http, ports, wait};

/// A broker needs milliseconds to start; machines under full load need patience.
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Path of the program `milena-broker`: `$MILENA_BROKER`, or the one beside the running test, which is
/// built first with the same profile.
pub fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| sibling("MILENA_BROKER", "milena-broker", "milena-broker")).clone()
}

/// Path of the command line `milena`: `$MILENA_CLI`, or found like [`program`].
pub fn command_line() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| sibling("MILENA_CLI", "milena-client", "milena")).clone()
}

fn sibling(variable: &str, package: &str, name: &str) -> PathBuf {
    if let Some(path) = env::var_os(variable) {
        return path.into();
    }
    let own = env::current_exe().expect("a process knows its program");
    let mut folder = own.parent().expect("a program is in a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("deps is in the profile's folder");
    }
    // Cargo builds a package's programs only for that package's own tests, so ask for them here: it
    // returns at once when nothing changed. Cargo is not present where only the programs were copied.
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "-p", package, "--bin", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
    build.env("CARGO_TARGET_DIR", folder.parent().expect("a profile is in the target folder"));
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let built = build.status().is_ok_and(|status| status.success());
    let path = folder.join(name);
    assert!(built || path.exists(), "{} is missing and `cargo build -p {package}` failed", path.display());
    path
}

/// What a broker is started with. Ports are chosen when it is built, so a restart keeps them.
pub struct Config {
    program: PathBuf,
    directory: PathBuf,
    properties: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    port: u16,
    http_port: u16,
    _temporary: Option<tempfile::TempDir>,
}

impl Config {
    /// A broker with an empty directory of its own, which is removed with the last handle.
    pub fn new() -> Self {
        let temporary = tempfile::Builder::new().prefix("milena-").tempdir().expect("a temporary directory");
        Self { _temporary: None, ..Self::at(temporary.path()) }.keep(temporary)
    }

    /// A broker whose files are below `directory`: `server.properties`, `broker.log` and `data/`.
    pub fn at(directory: &Path) -> Self {
        Self {
            program: program(),
            directory: directory.to_owned(),
            properties: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            port: ports::free(),
            http_port: ports::free(),
            _temporary: None,
        }
    }

    fn keep(mut self, temporary: tempfile::TempDir) -> Self {
        self._temporary = Some(temporary);
        self
    }

    /// Sets a property, also one of those that the harness sets itself.
    pub fn property(mut self, name: &str, value: impl ToString) -> Self {
        self.properties.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sets a variable of the broker's environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the broker under another program, such as `strace -f -e inject=…`.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Starts another program than [`program`] says.
    pub fn program(mut self, path: &Path) -> Self {
        self.program = path.to_owned();
        self
    }

    /// Where the log directory of the broker is.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The port for clients.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts the broker and waits until it is ready. The error holds the end of the broker's output.
    pub fn start(self) -> io::Result<Broker> {
        let mut broker = self.launch()?;
        broker.wait_ready()?;
        Ok(broker)
    }

    /// Starts the broker, which may not be ready before others are: a node of a cluster.
    pub fn launch(self) -> io::Result<Broker> {
        let child = self.spawn()?;
        Ok(Broker { config: self, child })
    }

    /// Starts the broker without waiting, for tests that expect it to refuse.
    pub fn spawn(&self) -> io::Result<Child> {
        fs::create_dir_all(&self.directory)?;
        let file = self.directory.join("server.properties");
        let own = [
            ("listeners".to_owned(), format!("PLAINTEXT://127.0.0.1:{}", self.port)),
            ("log.dirs".to_owned(), self.data().display().to_string()),
            ("milena.http.listener".to_owned(), ports::address(self.http_port)),
        ];
        let set = |name: &str| self.properties.iter().any(|(other, _)| other == name);
        let lines = own.iter().filter(|(name, _)| !set(name)).chain(&self.properties);
        fs::write(&file, lines.map(|(name, value)| format!("{name}={value}\n")).collect::<String>())?;
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut command = match self.wrapper.split_first() {
            None => Command::new(&self.program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
        };
        command.arg(&file).envs(self.environment.iter().cloned()).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log).spawn()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("broker.log")
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

/// A running broker; it is killed when this is dropped.
pub struct Broker {
    config: Config,
    child: Child,
}

impl Broker {
    /// A broker with default properties in a directory of its own.
    pub fn start() -> Self {
        Config::new().start().expect("the broker starts")
    }

    /// Address for `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        ports::address(self.config.port)
    }

    pub fn port(&self) -> u16 {
        self.config.port
    }

    pub fn http_port(&self) -> u16 {
        self.config.http_port
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the log directory of the broker is.
    pub fn data(&self) -> PathBuf {
        self.config.data()
    }

    /// Everything the broker has written to its output, over all its starts.
    pub fn output(&self) -> String {
        fs::read(self.config.log_path()).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// The broker's metrics in Prometheus' text format.
    pub fn metrics(&self) -> io::Result<String> {
        http::get(self.config.http_port, "/metrics").map(|(_, body)| body)
    }

    /// Holds the process still (SIGSTOP), as a machine that hangs does: its connections stay open, and nothing answers.
    pub fn pause(&self) -> io::Result<()> {
        signal(self.child.id(), libc::SIGSTOP)
    }

    /// Lets a paused process go on.
    pub fn resume(&self) -> io::Result<()> {
        signal(self.child.id(), libc::SIGCONT)
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How the process has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks the broker to stop (SIGTERM) and waits for its end.
    pub fn stop(&mut self) -> io::Result<ExitStatus> {
        signal(self.child.id(), libc::SIGTERM)?;
        wait::poll(STOP_LIMIT, || self.child.try_wait().transpose())
            .unwrap_or_else(|| Err(io::Error::new(io::ErrorKind::TimedOut, "the broker did not stop")))
    }

    /// Ends the broker at once (SIGKILL), as a crash does.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts the broker again without waiting until it is ready.
    pub fn spawn_again(&mut self) -> io::Result<()> {
        self.child = self.config.spawn()?;
        Ok(())
    }

    /// Starts the broker again on the same ports and files; it must have ended before.
    pub fn start_again(&mut self) -> io::Result<()> {
        self.spawn_again()?;
        self.wait_ready()
    }

    /// Sets a property for the next start.
    pub fn set_property(&mut self, name: &str, value: impl ToString) {
        self.config.properties.retain(|(other, _)| other != name);
        self.config.properties.push((name.to_owned(), value.to_string()));
    }

    /// Waits until the broker says that it is ready.
    pub fn wait_ready(&mut self) -> io::Result<()> {
        let (port, http_port) = (self.config.port, self.config.http_port);
        let child = &mut self.child;
        let ready = wait::poll(START_LIMIT, || {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(Err(format!("ended with {status}")));
            }
            let open = TcpStream::connect(("127.0.0.1", port)).is_ok();
            (open && matches!(http::get(http_port, "/readyz"), Ok((200, _)))).then_some(Ok(()))
        });
        let trouble = match ready {
            Some(Ok(())) => return Ok(()),
            Some(Err(trouble)) => trouble,
            None => format!("was not ready within {START_LIMIT:?}"),
        };
        let output = self.output();
        let tail: Vec<&str> = output.lines().rev().take(20).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Err(io::Error::other(format!("the broker {trouble}; its last lines:\n{}", tail.join("\n"))))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies a directory with all that is in it, such as a log directory for another broker to read.
pub fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            io::copy(&mut File::open(entry.path())?, &mut File::create(target)?)?;
        }
    }
    Ok(())
}
