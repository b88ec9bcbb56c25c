//! What all parts are measured with: the programs, how long each thing is measured, and the commands as they are shown.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::de::DeserializeOwned;
use tokio::process::Command;

use super::servers::{Kind, Server};
use crate::outcome::Outcome;
use crate::outcome::ratio::Ratio;
use crate::target::Target;

/// A server of others that is measured beside this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) target: Target,
}

impl std::str::FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, target) = text.split_once('=').filter(|(name, _)| !name.trim().is_empty()).ok_or_else(|| {
            format!("\"{text}\" is no peer: write one such as limitador=ratelimit+http://127.0.0.1:8081")
        })?;
        Ok(Self { name: name.trim().to_owned(), target: target.parse()? })
    }
}

/// How long each thing is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lasting {
    pub(crate) pairs: &'static str,
    pub(crate) seconds: &'static str,
    pub(crate) warm_up: &'static str,
}

/// With what, and how.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The server's binary.
    pub(crate) headgate: PathBuf,
    /// This one.
    pub(crate) loadtest: PathBuf,
    /// Where servers keep their files, and what is needed meanwhile is put.
    pub(crate) folder: PathBuf,
    /// Where the project lies, for its benchmarks; none: it is not here.
    pub(crate) project: Option<PathBuf>,
    pub(crate) quick: bool,
    pub(crate) peers: Vec<Peer>,
}

/// Two targets, compared.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Compared {
    pub(crate) a: Outcome,
    pub(crate) b: Outcome,
    pub(crate) ratios: Vec<Ratio>,
}

/// What came of a command, and the lines that show how to do the same.
#[derive(Debug)]
pub(crate) struct Came<T> {
    pub(crate) of: T,
    pub(crate) shown: Vec<String>,
    /// What it complained of, though it said what came.
    pub(crate) fault: Option<String>,
}

impl Session {
    pub(crate) fn lasting(&self) -> Lasting {
        if self.quick {
            Lasting { pairs: "3", seconds: "1s", warm_up: "500ms" }
        } else {
            Lasting { pairs: "5", seconds: "3s", warm_up: "500ms" }
        }
    }

    /// Runs the load test, with what it prints as JSON; the ports of `servers` are shown as those they have by hand.
    pub(crate) async fn loadtest<T: DeserializeOwned>(
        &self,
        arguments: &[&str],
        servers: &[&Server],
    ) -> Result<Came<T>, String> {
        let mut line =
            format!("headgate-loadtest {}", arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
        for server in servers {
            line = line.replace(&server.address, &format!("127.0.0.1:{}", server.kind.port()));
        }
        eprintln!("  {line}");
        let mut kinds: Vec<Kind> = servers.iter().map(|server| server.kind).collect();
        kinds.dedup();
        let shown = kinds.into_iter().map(Kind::command).chain([format!("{line} -o json")]).collect();
        let Ran { out, fault } = self.ran(&self.loadtest, &[arguments, &["-o", "json"]].concat(), None).await?;
        let of = serde_json::from_str(&out).map_err(|error| {
            fault.clone().unwrap_or_else(|| format!("`{line}` printed what is no outcome: {error}"))
        })?;
        Ok(Came { of, shown, fault })
    }

    /// Runs a program to its end, and returns what it printed; it must be content.
    pub(crate) async fn run(
        &self,
        program: &Path,
        arguments: &[&str],
        environment: Option<(&str, &Path)>,
    ) -> Result<String, String> {
        let Ran { out, fault } = self.ran(program, arguments, environment).await?;
        fault.map_or(Ok(out), Err)
    }

    async fn ran(&self, program: &Path, arguments: &[&str], environment: Option<(&str, &Path)>) -> Result<Ran, String> {
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
        // Where it lay for a while says nothing to whoever reads of it.
        let line = format!("`{name} {}`", arguments.join(" ")).replace(&format!("{}/", self.folder.display()), "");
        let mut command = Command::new(program);
        command.args(arguments).envs(environment).kill_on_drop(true);
        if let Some(project) = self.project.as_ref().filter(|_| program != self.loadtest) {
            command.current_dir(project);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("{line} cannot be run: {error}"))?;
        let ran = child.wait_with_output().await.map_err(|error| format!("{line} was lost: {error}"))?;
        let out = String::from_utf8(ran.stdout).map_err(|_| format!("{line} printed what is no text"))?;
        let complaint = || {
            let said = String::from_utf8_lossy(&ran.stderr);
            let lines: Vec<&str> = said.lines().rev().filter(|line| !line.trim().is_empty()).take(LINES_MAX).collect();
            format!("{line} ended with {}: {}", ran.status, lines.into_iter().rev().collect::<Vec<_>>().join("; "))
        };
        Ok(Ran { out, fault: (!ran.status.success()).then(complaint) })
    }
}

/// What a program printed, and what it complained of where it failed.
struct Ran {
    out: String,
    fault: Option<String>,
}

/// Lines of what a program complained of that are told.
const LINES_MAX: usize = 5;

/// A word, as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    if word.contains(['&', '?', ' ', '*', '|']) { format!("'{word}'") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{Peer, quoted};

    #[test]
    fn a_peer_has_a_name_and_a_target() {
        let peer: Peer = "limitador=ratelimit+http://127.0.0.1:8081".parse().expect("a peer");
        assert_eq!((peer.name.as_str(), peer.target.port), ("limitador", 8081));
        for (text, expected) in [("http://host", "is no peer"), ("=http://host", "is no peer"), ("a=host", "no target")]
        {
            let refused = text.parse::<Peer>().expect_err(text);
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn what_a_shell_would_read_is_quoted() {
        assert_eq!(quoted("stream+http://h:1?batch=2&in-flight=3"), "'stream+http://h:1?batch=2&in-flight=3'");
        assert_eq!(quoted("http://h:1"), "http://h:1");
    }
}
