//! Servers of a test's own, and the binary that drives them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use headgate_ledger::default_cell;
use headgate_scheduler::config::{Config, Log};
use headgate_scheduler::engine::{Filter, Scope, Told};
use headgate_scheduler::logs::Logs;
use headgate_scheduler::serve::Server;

const BINARY: &str = env!("CARGO_BIN_EXE_headgate-loadtest");

/// A Headgate that serves, with nothing configured but what a load test sets up.
pub(crate) struct Headgate {
    pub(crate) url: String,
    pub(crate) http: String,
    /// Serves as long as it lives.
    runtime: tokio::runtime::Runtime,
    server: Server,
}

impl Headgate {
    pub(crate) fn start(more: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let yaml = format!("listen: {{grpc: 127.0.0.1:0, http: 127.0.0.1:0}}\nstore: {{kind: memory}}\n{more}");
        let config = Config::parse("test.yaml", &yaml).unwrap_or_else(|problems| panic!("{problems}"));
        let started = Server::start(config, "test.yaml", Logs::begin(Log::default()));
        let server = runtime.block_on(started).unwrap_or_else(|error| panic!("{error}"));
        let (grpc, http) = (server.grpc().expect("gRPC is served"), server.http().expect("HTTP is served"));
        Self { url: grpc.to_string(), http: http.to_string(), runtime, server }
    }
}

impl Headgate {
    /// Waits until something has been taken.
    pub(crate) fn wait_for_a_lease(&self) {
        let engine = self.server.engine();
        self.runtime.block_on(async {
            let filter = Filter::all(Scope::All);
            let mut watch = engine.watch(&default_cell(), filter, None).await.expect("a watch");
            while !matches!(watch.next().await.expect("it is told"), Told::Happened(_)) {}
        });
    }

    /// Pools that are there: none where what was set up is gone, which it only is once nothing is held.
    pub(crate) fn pools(&self) -> usize {
        let cell = default_cell();
        self.runtime.block_on(self.server.engine().read(&cell, |view| view.pools().count())).expect("read")
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

/// Starts the binary, to be waited for.
pub(crate) fn spawn(arguments: &[&str]) -> Child {
    let piped = Command::new(BINARY).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    piped.expect("it starts")
}

/// What came of one that was started.
pub(crate) fn wait(child: Child) -> Ran {
    ran(child.wait_with_output().expect("it ends"))
}

/// Runs the binary in a folder.
pub(crate) fn run_in(folder: &std::path::Path, arguments: &[&str]) -> Ran {
    ran(Command::new(BINARY).args(arguments).current_dir(folder).output().expect("it runs"))
}

/// Runs the binary.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    ran(Command::new(BINARY).args(arguments).output().expect("it runs"))
}

/// Runs the binary, which may have so many handles.
pub(crate) fn run_with_handles(most: u32, arguments: &[&str]) -> Ran {
    let script = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
    ran(Command::new("sh").args(["-c", &script, BINARY]).args(arguments).output().expect("it runs"))
}

fn ran(Output { status, stdout, stderr }: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// Runs `run` for a moment, with few operations in flight.
pub(crate) fn drive(target: &str, more: &[&str]) -> Ran {
    let briefly = ["-d", "300ms", "--warm-up", "50ms", "-n", "8", "-c", "2", "--patience", "20s"];
    run(&[&["run", target], &briefly[..], more].concat())
}
