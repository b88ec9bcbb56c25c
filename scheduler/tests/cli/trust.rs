//! Whom the command line trusts to be the server.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use tempfile::TempDir;

use crate::served::headgate;

/// A server over TLS, whose certificate an authority of its own has signed.
struct Certified {
    folder: TempDir,
    process: Child,
    url: String,
}

fn certificates(folder: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate");
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().expect("a name"))];
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    for (name, pem) in [("ca.pem", authority.pem()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())]
    {
        fs::write(folder.join(name), pem).expect("a file");
    }
}

impl Certified {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        certificates(folder.path());
        let at = folder.path().display();
        let text = format!(
            "listen: {{grpc: 127.0.0.1:0}}\nstore: {{kind: memory}}\ntls: {{cert: {at}/cert.pem, key: {at}/key.pem}}\n\
             pools: [{{name: default, capacity: {{cpu: 10}}}}]\ntenants: [{{name: a, quota: {{default: {{}}}}}}]\n"
        );
        let config = folder.path().join("headgate.yaml");
        fs::write(&config, text).expect("a configuration");
        let mut command = headgate();
        command.arg("serve").arg("--config").arg(config).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("a server");
        let lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let mut lines = lines.map(|line| line.expect("a line"));
        let url = lines.find_map(|line| line.trim().strip_prefix("gRPC").map(|url| url.trim().to_owned()));
        let url = url.expect("an address").replace("127.0.0.1", "localhost");
        Self { folder, process, url }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Checks something, on a system that trusts those in a file of certificates, if any.
    fn check(&self, trusted: &Path, arguments: &[&str]) -> Output {
        let mut command = headgate();
        command.args(["check", "-t", "a", "--cpu", "1", "--server", &self.url]).args(arguments);
        command.env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR").output().expect("headgate")
    }
}

impl Drop for Certified {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended already
        let _ = self.process.wait();
    }
}

#[test]
fn a_server_is_trusted_whom_the_system_or_the_caller_trusts() {
    let server = Certified::start();
    let (authority, other) = (server.file("ca.pem"), server.file("other"));
    fs::create_dir(&other).expect("a folder");
    certificates(&other);
    let stranger = other.join("ca.pem");
    let authority_text = authority.to_str().expect("a path");

    let by_system = server.check(&authority, &[]);
    assert_eq!(by_system.status.code(), Some(0), "{by_system:?}");
    let by_caller = server.check(&stranger, &["--ca", authority_text]);
    assert_eq!(by_caller.status.code(), Some(0), "{by_caller:?}");

    let by_nobody = server.check(&stranger, &[]);
    let told = String::from_utf8_lossy(&by_nobody.stderr);
    assert_eq!(by_nobody.status.code(), Some(1), "{told}");
    assert!(told.starts_with(&format!("headgate: cannot trust the server at {}: ", server.url)), "{told}");
    assert!(told.ends_with("; --ca names the file of whoever signed its certificate\n"), "{told}");

    let none = server.check(&server.file("headgate.yaml"), &[]);
    let told = String::from_utf8_lossy(&none.stderr);
    assert_eq!(none.status.code(), Some(1), "{told}");
    assert!(told.starts_with("headgate: the certificates cannot be used: ") && told.contains("--ca names"), "{told}");
}
