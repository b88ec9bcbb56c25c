//! Servers that are started to be measured, on free ports, and ended again.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::session::Session;

/// How long a server may take until it listens.
const START_MAX: Duration = Duration::from_secs(30);
/// Lines until it says where.
const LINES_MAX: usize = 20;
/// Bytes of what a server said that are told when it does not start.
const SAID_MAX: usize = 2000;

/// What is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Headgate, which keeps nothing.
    Memory,
    /// Headgate on files: what it answers is durable.
    Journaled,
    /// Headgate on files: it answers first.
    Relaxed,
    /// Headgate as Envoy's rate limit service.
    Gateway,
    /// The least that a server can do.
    YardstickH2,
    /// The same, as services are ordinarily written.
    YardstickTonic,
}

impl Kind {
    pub(crate) const CONFIGURED: [Self; 4] = [Self::Memory, Self::Journaled, Self::Relaxed, Self::Gateway];

    /// The configuration's file; none: it has none.
    pub(crate) fn file(self) -> Option<&'static str> {
        match self {
            Self::Memory => Some("memory.yaml"),
            Self::Journaled => Some("journaled.yaml"),
            Self::Relaxed => Some("relaxed.yaml"),
            Self::Gateway => Some("gateway.yaml"),
            Self::YardstickH2 | Self::YardstickTonic => None,
        }
    }

    /// The port that it has in the commands that are shown.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Memory => 7070,
            Self::Journaled => 7072,
            Self::Relaxed => 7074,
            Self::Gateway => 7076,
            Self::YardstickH2 => 7171,
            Self::YardstickTonic => 7172,
        }
    }

    /// Its configuration, at a port.
    pub(crate) fn yaml(self, port: u16) -> String {
        let store = match self {
            Self::Journaled => "store: {kind: file, path: ./data}\ndurability: journaled\n",
            Self::Relaxed => "store: {kind: file, path: ./data}\ndurability: relaxed\n",
            Self::Memory | Self::Gateway | Self::YardstickH2 | Self::YardstickTonic => "store: {kind: memory}\n",
        };
        let more = if self == Self::Gateway { GATEWAY } else { "" };
        format!("listen: {{grpc: 127.0.0.1:{port}}}\n{store}{more}")
    }

    /// How somebody starts it by hand.
    pub(crate) fn command(self) -> String {
        match self.file() {
            Some(file) => format!("headgate serve --config {file} &"),
            None => {
                let built = if self == Self::YardstickTonic { " --built tonic" } else { "" };
                format!("headgate-loadtest yardstick --listen 127.0.0.1:{}{built} &", self.port())
            }
        }
    }
}

/// One rate that counts all calls, and that nobody exceeds.
const GATEWAY: &str = "\
pools: [{name: default}]
tenants:
  - name: loadtest
    quota: {default: {}}
    rates: [{name: all, resource: requests, amount: 1G, per: 1s}]
rate_limit_service:
  - {domain: loadtest, descriptors: [{match: {tenant: \"*\"}, tenant: loadtest}]}
";

/// A server that listens. It ends when it is dropped, and is waited for when it is ended.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    child: Child,
    /// Whoever writes to nobody is ended by it.
    _lines: Lines<BufReader<ChildStdout>>,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts one, and waits until it says where it listens.
    pub(crate) async fn start(session: &Session, kind: Kind) -> Result<Self, String> {
        let name = kind.command();
        let refuse = |error: std::io::Error| format!("`{name}` cannot be started: {error}");
        let folder = tempfile::tempdir_in(&session.folder).map_err(refuse)?;
        let said = folder.path().join("said");
        let mut command = match kind.file() {
            Some(file) => {
                std::fs::write(folder.path().join(file), kind.yaml(0)).map_err(refuse)?;
                let mut command = Command::new(&session.headgate);
                command.args(["serve", "--config", file]);
                command
            }
            None => {
                let built = if kind == Kind::YardstickTonic { "tonic" } else { "h2" };
                let mut command = Command::new(&session.loadtest);
                command.args(["yardstick", "--listen", "127.0.0.1:0", "--built", built]);
                command
            }
        };
        command.current_dir(folder.path()).env_remove("HEADGATE_CONFIG").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(std::fs::File::create(&said).map_err(refuse)?);
        let mut child = command.spawn().map_err(refuse)?;
        let Some(out) = child.stdout.take() else { unreachable!("it was piped") };
        let mut lines = BufReader::new(out).lines();
        let listening = tokio::time::timeout(START_MAX, address(&mut lines)).await;
        match listening.unwrap_or_default() {
            Some(address) => Ok(Self { kind, address, child, _lines: lines, _folder: folder }),
            None => {
                let said = std::fs::read_to_string(&said).unwrap_or_default();
                let said: String = said.trim().chars().take(SAID_MAX).collect();
                Err(format!("`{name}` does not listen: {said}"))
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it, and waits until it is no more.
    pub(crate) async fn end(mut self) {
        // One that has ended already is fine too.
        let _ = self.child.kill().await;
    }
}

/// Where a server says that it listens; none: it has ended, or says something else.
async fn address(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<String> {
    for _ in 0..LINES_MAX {
        let line = lines.next_line().await.ok().flatten()?;
        if let Some(address) = line.split_whitespace().find(|word| word.contains("127.0.0.1:")) {
            return Some(address.trim_start_matches("http://").to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use headgate_scheduler::config::Config;

    use super::Kind;

    #[test]
    fn what_is_served_is_configured_well() {
        for kind in Kind::CONFIGURED {
            let file = kind.file().expect("it has one");
            Config::parse(file, &kind.yaml(kind.port())).unwrap_or_else(|problems| panic!("{problems}"));
        }
    }
}
