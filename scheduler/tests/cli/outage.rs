//! A server whose disk is full, may not be written to, or is another server's: each a process of its own, asked over gRPC.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use headgate_proto::v1::quota_service_client::QuotaServiceClient;
use headgate_proto::v1::resource::AmountKind;
use headgate_proto::v1::{self, Decision};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::served::headgate;
use crate::until;

/// More than any test takes.
const ROOMY: &str = "
pools: [{name: default, capacity: {cpu: 1000000}, lease_ttl: 0s}]
tenants: [{name: a, quota: {default: {}}}]
";
/// Requests after which a disk that is full must have been noticed: a page takes some tens.
const TRIES_MAX: usize = 10_000;

/// A folder with a configuration, whose store is in `data`.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder");
        let text = format!(
            "listen: {{grpc: 127.0.0.1:0, http: 127.0.0.1:0}}\nstore: {{kind: file, path: {}}}\n{ROOMY}",
            data.display()
        );
        fs::write(folder.path().join("headgate.yaml"), text).expect("a configuration");
        Self(folder)
    }

    fn data(&self) -> std::path::PathBuf {
        self.0.path().join("data")
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = headgate();
        command.arg(verb).arg("--config").arg(self.0.path().join("headgate.yaml")).stdin(Stdio::null());
        command
    }

    /// What a server says that does not start.
    fn refused(&self) -> String {
        let output = self.command("serve").output().expect("headgate");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(output.stdout.is_empty(), "nothing was served");
        told
    }

    fn is_sound(&self) -> bool {
        let output = self.command("verify").output().expect("headgate");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).starts_with("cell main: sound")
    }
}

/// Something mounted, until this is dropped; none where the system gives no leave to mount.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn new(test: &str, arguments: &[&str], at: &'a Path) -> Option<Self> {
        match Command::new("mount").args(arguments).arg(at).output() {
            Ok(output) if output.status.success() => Some(Self(at)),
            other => {
                eprintln!("SKIPPED {test}: cannot mount here: {other:?}");
                None
            }
        }
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

/// A server, and somebody who asks it.
struct Asked {
    process: Child,
    http: String,
    runtime: Runtime,
    quota: QuotaServiceClient<Channel>,
}

impl Asked {
    fn start(place: &Place) -> Self {
        // A file that would grow beyond the limit on its size is an error then, and no signal.
        let mut command = Command::new("sh");
        let serve = place.command("serve");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(serve.get_program()).args(serve.get_args());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("a server");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let mut address = |surface: &str| {
            let mut lines = lines.by_ref().map(|line| line.expect("a line"));
            lines
                .find_map(|line| line.trim().strip_prefix(surface).map(|url| url.trim().to_owned()))
                .expect("an address")
        };
        let (grpc, http) = (address("gRPC"), address("HTTP"));
        // From here on, nobody reads what it prints.
        let runtime = Runtime::new().expect("a runtime");
        let channel = {
            let _inside = runtime.enter();
            Endpoint::from_shared(grpc).expect("a URL").connect_lazy()
        };
        let http = http.trim_start_matches("http://").to_owned();
        Self { process, http, runtime, quota: QuotaServiceClient::new(channel) }
    }

    fn acquire(&mut self, id: &str) -> Result<v1::Answer, Status> {
        let cpu = v1::Resource { name: "cpu".to_owned(), amount_kind: Some(AmountKind::Amount(1000)) };
        let request = v1::Request {
            request_id: id.to_owned(),
            tenant: "a".to_owned(),
            resources: vec![cpu],
            ..v1::Request::default()
        };
        let message = v1::AcquireRequest { request: Some(request) };
        let response = self.runtime.block_on(self.quota.acquire(message))?;
        Ok(response.into_inner().answer.expect("an answer"))
    }

    /// Acquires until there is no answer: the id that had none, and why.
    fn acquire_until_it_fails(&mut self, answered: &mut Vec<(String, String)>) -> (String, Status) {
        for _ in 0..TRIES_MAX {
            let id = format!("r-{}", answered.len());
            match self.acquire(&id) {
                Ok(answer) => answered.push((id, answer.lease_id)),
                Err(status) => return (id, status),
            }
        }
        panic!("there is room still after {TRIES_MAX} requests");
    }

    /// What HTTP answers, head and body.
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.http).expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("read");
        text
    }

    fn kill(mut self) {
        self.process.kill().expect("its end");
        self.process.wait().expect("a status");
    }
}

/// A disk becomes full under a server, and then there is room again.
fn the_story_of_a_full_disk(place: &Place, fill: impl FnOnce(&Asked), make_room: impl FnOnce(&Asked), cause: &str) {
    let mut server = Asked::start(place);
    let mut answered = Vec::new();
    for n in 0..5 {
        let id = format!("r-{n}");
        let answer = server.acquire(&id).expect("decided");
        answered.push((id, answer.lease_id));
    }
    fill(&server);

    let (unanswered, status) = server.acquire_until_it_fails(&mut answered);
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()), "{status:?}");
    assert!(status.message().contains("the store of cell main is down"), "{status:?}");
    assert!(status.message().contains(cause), "{status:?}");
    // By the time that anybody is told, probes and metrics say so too.
    let why = server.get("/readyz");
    assert!(why.starts_with("HTTP/1.1 503"), "{why}");
    assert!(why.contains("not ready: the store takes nothing: cell main: ") && why.contains(cause), "{why}");
    let metrics = server.get("/metrics");
    assert!(metrics.contains("headgate_store_up{cell=\"main\"} 0.0"), "{metrics}");
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200"), "it lives, and would gain nothing by a restart");
    assert_eq!(server.acquire("r-0").expect_err("nothing is answered").code(), Code::Unavailable);

    make_room(&server);
    until("that it is ready again", || server.get("/readyz").starts_with("HTTP/1.1 200"));
    assert!(server.get("/metrics").contains("headgate_store_up{cell=\"main\"} 1.0"));
    let answer = server.acquire(&unanswered).expect("decided");
    assert_eq!(answer.decision(), Decision::Allow, "the same id again");
    answered.push((unanswered, answer.lease_id));

    server.kill();
    assert!(place.is_sound());
    let mut server = Asked::start(place);
    for (id, lease) in &answered {
        assert_eq!(server.acquire(id).expect("decided").lease_id, *lease, "{id} was answered");
    }
    let usage = format!("headgate_usage{{pool=\"default\",tenant=\"a\",resource=\"cpu\"}} {}.0", answered.len());
    let metrics = server.get("/metrics");
    assert!(metrics.contains(&usage), "each once: {usage} in {metrics}");
    server.kill();
}

fn limit_files(server: &Asked, bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    let changed = Command::new("prlimit").arg("--pid").arg(server.process.id().to_string()).arg(limit).status();
    assert!(changed.expect("prlimit").success());
}

#[test]
fn a_store_that_may_not_grow_is_told_and_loses_nothing() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        return eprintln!("SKIPPED a_store_that_may_not_grow_is_told_and_loses_nothing: there is no prlimit here");
    }
    let place = Place::new();
    let (fill, make_room) =
        (|server: &Asked| limit_files(server, "1"), |server: &Asked| limit_files(server, "unlimited"));
    the_story_of_a_full_disk(&place, fill, make_room, "File too large (os error 27); raise the limit");
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let place = Place::new();
    let data = place.data();
    let test = "a_full_disk_is_told_and_loses_nothing";
    let Some(_mount) = Mount::new(test, &["-t", "tmpfs", "-o", "size=4m", "tmpfs"], &data) else { return };
    let filler = data.join("filler");
    let fill = |_: &Asked| {
        let mut file = fs::File::create(&filler).expect("a file");
        while file.write_all(&[1; 4096]).is_ok() {}
    };
    let make_room = |_: &Asked| fs::remove_file(&filler).expect("removed");
    the_story_of_a_full_disk(&place, fill, make_room, "No space left on device (os error 28); make room there");
}

#[test]
fn a_store_that_is_in_use_is_refused_in_one_sentence() {
    let place = Place::new();
    let server = Asked::start(&place);
    let told = place.refused();
    let data = place.data();
    assert!(told.starts_with(&format!("headgate: store: {} is in use by ", data.display())), "{told}");
    assert!(told.contains(&server.process.id().to_string()), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    server.kill();
}

#[test]
fn an_address_that_is_in_use_is_told_in_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let place = Place::new();
    let config = place.0.path().join("headgate.yaml");
    let text = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, text.replace("grpc: 127.0.0.1:0", &format!("grpc: \"{address}\""))).expect("a configuration");
    assert_eq!(
        place.refused(),
        format!(
            "headgate: grpc cannot listen on {address}: Address already in use (os error 98); another process listens there (ss \
             -ltnp 'sport = :{}' shows which): stop it, or choose another port under listen in the configuration\n",
            address.port()
        )
    );
}

#[test]
fn a_store_that_may_not_be_written_to_is_refused_in_one_sentence() {
    let place = Place::new();
    let data = place.data();
    let path = data.to_str().expect("a path");
    let test = "a_store_that_may_not_be_written_to_is_refused_in_one_sentence";
    let Some(_mount) = Mount::new(test, &["--bind", "-o", "ro", path], &data) else { return };
    assert_eq!(
        place.refused(),
        format!(
            "headgate: store: cannot open {path}/LOCK: Read-only file system (os error 30); the store needs a place that can be \
             written to\n"
        )
    );
}
