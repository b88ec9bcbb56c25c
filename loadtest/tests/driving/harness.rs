//! Servers of a test's own, and the binary that drives them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use headgate_scheduler::config::{Config, Log};
use headgate_scheduler::logs::Logs;
use headgate_scheduler::serve::Server;

const BINARY: &str = env!("CARGO_BIN_EXE_headgate-loadtest");

/// A Headgate that serves, with nothing configured but what a load test sets up.
pub(crate) struct Headgate {
    pub(crate) url: String,
    pub(crate) http: String,
    /// Serves as long as it lives.
    _runtime: tokio::runtime::Runtime,
    _server: Server,
}

impl Headgate {
    pub(crate) fn start(more: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let yaml = format!("listen: {{grpc: 127.0.0.1:0, http: 127.0.0.1:0}}\nstore: {{kind: memory}}\n{more}");
        let config = Config::parse("test.yaml", &yaml).unwrap_or_else(|problems| panic!("{problems}"));
        let started = Server::start(config, "test.yaml", Logs::begin(Log::default()));
        let server = runtime.block_on(started).unwrap_or_else(|error| panic!("{error}"));
        let (grpc, http) = (server.grpc().expect("gRPC is served"), server.http().expect("HTTP is served"));
        Self { url: grpc.to_string(), http: http.to_string(), _runtime: runtime, _server: server }
    }
}

/// A server that does nothing, as a process.
pub(crate) struct Yardstick {
    pub(crate) url: String,
    child: Child,
}

impl Yardstick {
    pub(crate) fn start(built: &str) -> Self {
        let mut child = Command::new(BINARY)
            .args(["yardstick", "--listen", "127.0.0.1:0", "--built", built])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says where it listens");
        let url = line.trim().rsplit(' ').next().expect("an address").to_owned();
        Self { url, child }
    }
}

impl Drop for Yardstick {
    fn drop(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it ended");
    }
}

/// What came of running the binary.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// What it printed, as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// Runs the binary.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    let Output { status, stdout, stderr } = Command::new(BINARY).args(arguments).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// Runs `run` for a moment, with few operations in flight.
pub(crate) fn drive(target: &str, more: &[&str]) -> Ran {
    let briefly = ["-d", "300ms", "--warm-up", "50ms", "-n", "8", "-c", "2", "--patience", "20s"];
    run(&[&["run", target], &briefly[..], more].concat())
}
