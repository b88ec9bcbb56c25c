//! A server in a folder of its own, and those who call it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

/// The binary, untouched by the environment of whoever tests.
pub(crate) fn headgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headgate"));
    for name in ["SERVER", "CA", "CERT", "KEY", "TOKEN_FILE", "TIMEOUT", "CONFIG"] {
        command.env_remove(format!("HEADGATE_{name}"));
    }
    command
}

/// A server, until this is dropped.
pub(crate) struct Served {
    process: Child,
    folder: Arc<TempDir>,
    url: String,
    objects: &'static str,
}

impl Served {
    /// A server of these pools and tenants, at a free port.
    pub(crate) fn start(objects: &'static str) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let (process, url) = begin(folder.path(), "127.0.0.1:0", objects);
        Self { process, folder, url, objects }
    }

    /// Kills it, and starts it again at the same port.
    pub(crate) fn restart(&mut self) {
        self.process.kill().expect("its end");
        self.process.wait().expect("a status");
        let address = self.url.trim_start_matches("http://").to_owned();
        (self.process, self.url) = begin(self.folder.path(), &address, self.objects);
    }

    /// Its folder, which stays when it is gone: its configuration is headgate.yaml there.
    pub(crate) fn folder(&self) -> Arc<TempDir> {
        Arc::clone(&self.folder)
    }

    /// A file beside its configuration.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    /// A call that is still to be made.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = headgate();
        command.args(line.split_whitespace()).env("HEADGATE_SERVER", &self.url).stdin(Stdio::null());
        command
    }

    /// A call, and what came of it.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("headgate")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended already
        let _ = self.process.wait();
    }
}

fn begin(folder: &Path, address: &str, objects: &str) -> (Child, String) {
    let config = folder.join("headgate.yaml");
    let data = folder.join("data");
    let text = format!("listen: {{grpc: \"{address}\"}}\nstore: {{kind: file, path: {}}}\n{objects}", data.display());
    fs::write(&config, text).expect("a configuration");
    let mut command = headgate();
    command.arg("serve").arg("--config").arg(config).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.spawn().expect("a server");
    let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
    let url = lines.by_ref().find_map(|line| {
        let line = line.expect("a line");
        line.trim().strip_prefix("gRPC").map(|url| url.trim().to_owned())
    });
    std::thread::spawn(move || lines.for_each(drop)); // so that it never writes to nobody
    (process, url.expect("where it serves"))
}

/// The exit status and the answer of a call that prints JSON.
pub(crate) fn answer(server: &Served, line: &str) -> (i32, serde_json::Value) {
    let output = server.run(line);
    assert!(!output.stdout.is_empty(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().expect("a status"), json(&output.stdout))
}

/// One JSON value.
pub(crate) fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

/// A text in an object.
pub(crate) fn said<'a>(object: &'a serde_json::Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_default()
}
