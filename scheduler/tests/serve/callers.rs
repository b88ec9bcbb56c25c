//! Who may do and see what, over TLS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use headgate_proto::v1::admin_service_client::AdminServiceClient;
use headgate_proto::v1::quota_service_client::QuotaServiceClient;
use headgate_proto::v1::{self, Decision, EventKind};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Request};

use crate::harness::{Client, Running, SOON, code, fault, parsed, request, start, waiting};

/// An authority that signs certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, name: SanType) -> (String, String) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// A server's certificate.
    fn server(&self) -> (String, String) {
        self.sign(SanType::DnsName("localhost".try_into().expect("a name")))
    }

    /// A caller's certificate.
    fn caller(&self, uri: &str) -> Identity {
        let (certificate, key) = self.sign(SanType::URI(uri.try_into().expect("a URI")));
        Identity::from_pem(certificate, key)
    }
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    // As secrets are swapped: another file in its place.
    let new = dir.join(format!("{name}.new"));
    std::fs::write(&new, text).expect("written");
    std::fs::rename(&new, &path).expect("renamed");
    path
}

/// A server for two organizations, whose callers are known by their certificates and by a token.
struct Guarded {
    running: Running,
    authority: Authority,
    dir: tempfile::TempDir,
}

const TOKEN: &str = "a-token-of-some-length";

async fn guarded() -> Guarded {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new("an authority");
    let (cert, key) = authority.server();
    write(dir.path(), "cert.pem", &cert);
    write(dir.path(), "key.pem", &key);
    write(dir.path(), "ca.pem", &authority.pem);
    write(dir.path(), "token", TOKEN);
    let at = dir.path().display();
    let yaml = format!(
        "
listen: {{grpc: 127.0.0.1:0, http: 127.0.0.1:0}}
store: {{kind: memory}}
tls: {{cert: {at}/cert.pem, key: {at}/key.pem, client_ca: {at}/ca.pem}}
auth:
  anonymous: deny
  callers:
    - {{match: {{san: \"spiffe://test/acme/*\"}}, may: [acquire], tenants: [acme], max_priority: 5}}
    - {{match: {{san: \"spiffe://test/other\"}}, may: [acquire], tenants: [other]}}
    - {{match: {{san: \"spiffe://test/looks\"}}, may: [check], tenants: [\"*\"]}}
    - {{match: {{san: \"spiffe://test/acme-admin\"}}, may: [admin], tenants: [acme]}}
    - {{match: {{san: \"spiffe://test/root\"}}, may: [admin], tenants: [\"*\"]}}
    - {{match: {{token_file: {at}/token}}, may: [acquire], tenants: [other]}}
pools: [{{name: default, capacity: {{cpu: 10}}, implied: {{}}, grace: 1s}}]
tenants:
  - {{name: acme, quota: {{default: {{guaranteed: {{cpu: 5}}}}}}, tenants: [{{name: ml, quota: {{default: {{}}}}}}]}}
  - {{name: other, quota: {{default: {{guaranteed: {{cpu: 5}}}}}}}}
"
    );
    Guarded { running: start(parsed(&yaml)).await, authority, dir }
}

impl Guarded {
    async fn channel(&self, trusted: &str, identity: Option<Identity>) -> Result<Channel, tonic::transport::Error> {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(trusted)).domain_name("localhost");
        let tls = identity.into_iter().fold(tls, ClientTlsConfig::identity);
        let address = self.running.address().replace("http:", "https:");
        Channel::from_shared(address).expect("a URI").tls_config(tls)?.connect().await
    }

    async fn caller(&self, uri: &str) -> Client {
        let identity = self.authority.caller(uri);
        let channel = self.channel(&self.authority.pem, Some(identity)).await.expect("connected");
        Client(QuotaServiceClient::new(channel))
    }

    async fn admin(&self, uri: &str) -> AdminServiceClient<Channel> {
        let identity = self.authority.caller(uri);
        AdminServiceClient::new(self.channel(&self.authority.pem, Some(identity)).await.expect("connected"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_tenants_caller_has_nothing_of_anothers() {
    let guarded = guarded().await;
    let mut acme = guarded.caller("spiffe://test/acme/ci").await;
    let mut other = guarded.caller("spiffe://test/other").await;
    let mut everything = other.watch(v1::WatchRequest::default()).await.expect("watching");
    everything.present().await;
    let id = acme.acquire(request("r", "acme/ml", 1)).await.expect("decided").lease_id;
    let ticket = acme.acquire(waiting("t", "acme", 10)).await.expect("decided").ticket_id;

    // An unknown tenant and one that may not be seen look the same.
    let unknown = other.acquire(request("r", "nobody", 1)).await.expect_err("refused");
    let unseen = other.acquire(request("r", "acme", 1)).await.expect_err("refused");
    assert_eq!((unseen.code(), unseen.message()), (unknown.code(), &*unknown.message().replace("nobody", "acme")));
    assert_eq!(code(other.check(request("", "acme/ml", 1)).await), Code::NotFound);
    for id in [&id, &ticket] {
        let unknown = other.get("main-99").await.expect_err("refused");
        let unseen = other.get(id).await.expect_err("refused");
        assert_eq!((unseen.code(), unseen.message()), (unknown.code(), &*unknown.message().replace("main-99", id)));
        for refused in [
            other.confirm(id).await,
            other.renew(id, "mine").await,
            other.resize(id, "2").await,
            other.release(id).await,
            other.cancel(id).await,
            other.wait(id).await,
        ] {
            assert_eq!(code(refused), Code::NotFound);
        }
        let watch = other.watch(v1::WatchRequest { ids: vec![id.clone()], ..Default::default() }).await;
        assert_eq!(code(watch.map(|_| ())), Code::NotFound);
    }
    let watch = other.watch(v1::WatchRequest { tenant: "acme".into(), ..Default::default() }).await;
    assert_eq!(code(watch.map(|_| ())), Code::NotFound);
    let by_request = v1::GetRequest { tenant: "acme/ml".into(), request_ids: vec!["r".into()], ..Default::default() };
    assert_eq!(code(other.0.get(by_request).await), Code::NotFound);

    let own = other.acquire(request("mine", "other", 1)).await.expect("decided").lease_id;
    let (_, events) = everything.events().await;
    assert_eq!(events.iter().map(v1::Event::kind).collect::<Vec<_>>(), [EventKind::Admitted], "only its own");
    other.release(&own).await.expect("released");
    assert_eq!(acme.get(&id).await.expect("known").leases.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holders_name_opens_nothing_of_anothers() {
    let guarded = guarded().await;
    let mut acme = guarded.caller("spiffe://test/acme/ci").await;
    let mut other = guarded.caller("spiffe://test/other").await;
    let held = |id: &str, tenant: &str| v1::Request { holder: "runner".into(), ..request(id, tenant, 1) };
    let id = acme.acquire(held("r", "acme")).await.expect("decided").lease_id;
    let own = other.acquire(held("r", "other")).await.expect("decided").lease_id;
    let release = v1::ReleaseRequest { ids: Vec::new(), holder: "runner".into() };
    let released = other.0.release(release).await.expect("released").into_inner().outcomes;
    assert_eq!(released.iter().map(|outcome| &outcome.id).collect::<Vec<_>>(), [&own]);
    let got = v1::GetRequest { holder: "runner".into(), ..v1::GetRequest::default() };
    assert_eq!(other.0.get(got.clone()).await.expect("answered").into_inner().leases, []);
    assert_eq!(acme.0.get(got).await.expect("answered").into_inner().leases[0].lease_id, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_does_what_it_may_and_no_more() {
    let guarded = guarded().await;
    let mut looks = guarded.caller("spiffe://test/looks").await;
    assert_eq!(looks.check(request("", "acme", 1)).await.expect("decided").decision(), Decision::Allow);
    assert_eq!(code(looks.acquire(request("r", "acme", 1)).await), Code::PermissionDenied);
    assert_eq!(code(looks.release("main-1").await), Code::PermissionDenied);
    let mut acme = guarded.caller("spiffe://test/acme/ci").await;
    assert_eq!(acme.check(request("", "acme", 1)).await.expect("decided").decision(), Decision::Allow);
    let high = v1::Request { priority: 6, ..request("r", "acme", 1) };
    assert_eq!(fault(acme.acquire(high).await).2, ["request.priority"]);
    let mut admin = guarded.admin("spiffe://test/acme/ci").await;
    let put = |path: &str| v1::PutTenantRequest {
        tenant: Some(v1::Tenant { path: path.into(), ..v1::Tenant::default() }),
        ..v1::PutTenantRequest::default()
    };
    assert_eq!(code(admin.put_tenant(put("acme/new")).await), Code::PermissionDenied);

    let mut admin = guarded.admin("spiffe://test/acme-admin").await;
    admin.put_tenant(put("acme/new")).await.expect("below what it administers");
    assert_eq!(
        code(admin.put_tenant(put("acme")).await),
        Code::PermissionDenied,
        "its own place is set by those above"
    );
    assert_eq!(code(admin.put_tenant(put("other")).await), Code::NotFound);
    assert_eq!(code(admin.put_tenant(put("other/new")).await), Code::NotFound);
    let loose = v1::Quota { enforce: v1::Enforce::Observe.into(), ..v1::Quota::default() };
    let loose = v1::Tenant { path: "acme/x".into(), quota: [("default".into(), loose)].into(), ..Default::default() };
    let loose = v1::PutTenantRequest { tenant: Some(loose), ..v1::PutTenantRequest::default() };
    assert_eq!(code(admin.put_tenant(loose).await), Code::PermissionDenied, "the limits above would not hold");
    assert_eq!(code(admin.set_paused(v1::SetPausedRequest::default()).await), Code::PermissionDenied);
    let tenants = admin.list_tenants(v1::ListTenantsRequest::default()).await.expect("a page").into_inner().tenants;
    assert_eq!(tenants.iter().map(|one| &one.path[..]).collect::<Vec<_>>(), ["acme", "acme/ml", "acme/new"]);
    let usage = admin.list_usage(v1::ListUsageRequest::default()).await.expect("a page").into_inner().usage;
    let paths: Vec<_> = usage.iter().map(|one| &one.tenant[..]).collect();
    assert!(paths.contains(&"") && !paths.contains(&"other"), "others are in the root's sums: {paths:?}");
    let file = v1::PutTenantRequest { source: v1::Source::File.into(), ..put("acme/new") };
    assert_eq!(fault(admin.put_tenant(file).await).2, ["source"]);
    guarded.admin("spiffe://test/root").await.put_tenant(put("new")).await.expect("who administers all may");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explanations_name_nobody_else() {
    let guarded = guarded().await;
    let mut acme = guarded.caller("spiffe://test/acme/ci").await;
    let mut other = guarded.caller("spiffe://test/other").await;
    other.acquire(request("r", "other", 9)).await.expect("decided");
    let ticket = acme.acquire(waiting("t", "acme", 3)).await.expect("decided");
    assert!(ticket.reasons.iter().all(|reason| !reason.tenant.contains("other")), "{ticket:?}");
    let mut admin = guarded.admin("spiffe://test/acme/ci").await;
    let what = v1::explain_request::What::TicketId(ticket.ticket_id);
    let explained = admin.explain(v1::ExplainRequest { what: Some(what), pool: String::new() }).await;
    let explained = explained.expect("explained").into_inner();
    assert!(explained.reclaiming.is_empty(), "whose leases give way is theirs");
    assert_eq!(explained.tenants.iter().map(|one| &one.tenant[..]).collect::<Vec<_>>(), [""], "the sum of all");
    assert!(!format!("{explained:?}").contains("other"), "{explained:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_known_is_refused() {
    let guarded = guarded().await;
    let stranger = Authority::new("a stranger");
    let mut bad = guarded.channel(&guarded.authority.pem, Some(stranger.caller("spiffe://test/root"))).await;
    if let Ok(channel) = bad {
        // With TLS 1.3 a client hears of it only when it asks.
        let asked = QuotaServiceClient::new(channel).watch(v1::WatchRequest::default()).await;
        assert!(asked.is_err(), "a certificate of another authority");
    }
    bad = guarded.channel(&stranger.pem, None).await;
    assert!(bad.is_err(), "the server's certificate is of another authority than the client trusts");

    let channel = guarded.channel(&guarded.authority.pem, None).await.expect("connected");
    let mut nobody = Client(QuotaServiceClient::new(channel.clone()));
    assert_eq!(code(nobody.acquire(request("r", "other", 1)).await), Code::Unauthenticated);
    let mut ask = async |token: &str| {
        let acquire = v1::AcquireRequest { request: Some(request("r", "other", 1)) };
        let mut wire = Request::new(acquire);
        wire.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a value"));
        nobody.0.acquire(wire).await.map(|_| ())
    };
    ask(TOKEN).await.expect("a token will do");
    assert_eq!(code(ask("a-token-of-some-lengtH").await), Code::Unauthenticated);
    assert_eq!(code(ask("").await), Code::Unauthenticated);
    let mut uncalled = guarded.caller("spiffe://test/uncalled").await;
    assert_eq!(code(uncalled.acquire(request("r", "other", 1)).await), Code::Unauthenticated);
    // Probes have no credentials.
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.expect("answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_tokens_are_read_again_when_their_files_change() {
    let guarded = guarded().await;
    let mut before = guarded.caller("spiffe://test/other").await;
    let renewed = Authority::new("another authority");
    let (cert, key) = renewed.server();
    write(guarded.dir.path(), "cert.pem", "half a file");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    guarded.caller("spiffe://test/other").await; // what was read before counts
    write(guarded.dir.path(), "key.pem", &key);
    write(guarded.dir.path(), "cert.pem", &cert);
    write(guarded.dir.path(), "token", "another-token-of-some-length");
    let connected = tokio::time::timeout(SOON, async {
        loop {
            if let Ok(channel) = guarded.channel(&renewed.pem, None).await {
                return channel;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let channel = connected.await.expect("soon");
    assert!(guarded.channel(&guarded.authority.pem, None).await.is_err(), "the old one is not shown any more");
    let mut client = QuotaServiceClient::new(channel);
    let mut ask = async |token: &str| {
        let mut wire = Request::new(v1::AcquireRequest { request: Some(request("r", "other", 1)) });
        wire.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a value"));
        client.acquire(wire).await.map(|_| ())
    };
    ask("another-token-of-some-length").await.expect("the new token");
    assert_eq!(code(ask(TOKEN).await), Code::Unauthenticated);
    before.check(request("", "other", 1)).await.expect("connections that were open stay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_too_much_at_once_is_told_when_to_come_again() {
    use headgate_scheduler::auth::{Limits, Share};
    use headgate_scheduler::serve::Server;
    use tonic_types::StatusExt as _;
    let one = Share { operations_max: 16, streams_max: 2, awaits_max: 1 };
    let limits = Limits::with(one, Share::ALL, 1_000_000, 2);
    let config = crate::harness::config(crate::harness::HALVES);
    let server = Server::start_with(config, "test.yaml", crate::harness::logs(), limits).await.expect("started");
    let running = Running { server };
    let mut client = running.quota().await;
    client.take("a", 10, 1).await;
    let mut watches = Vec::new();
    for _ in 0..2 {
        watches.push(client.watch(v1::WatchRequest::default()).await.expect("watching"));
    }
    let third = client.watch(v1::WatchRequest::default()).await.map(|_| ()).expect_err("refused");
    assert_eq!(third.code(), Code::ResourceExhausted);
    assert!(third.get_details_retry_info().is_some(), "{third}");
    watches.clear();
    let again = tokio::time::timeout(SOON, async {
        while client.watch(v1::WatchRequest::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    again.await.expect("there is room again");
    let mut tickets = Vec::new();
    for n in 0..2 {
        tickets.push(client.acquire(waiting(&format!("t{n}"), "a", 1)).await.expect("decided").ticket_id);
    }
    assert_eq!(code(client.acquire(waiting("t2", "a", 1)).await), Code::ResourceExhausted);
    for _ in 0..3 {
        client.acquire(waiting("t1", "a", 1)).await.expect("the same request takes no other ticket");
    }
    assert_eq!(client.acquire(request("d", "a", 1)).await.expect("one that does not wait").decision(), Decision::Deny);
    client.cancel(&tickets[0]).await.expect("cancelled");
    let again = tokio::time::timeout(SOON, async {
        while client.acquire(waiting("t2", "a", 1)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    again.await.expect("there is room for another");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_is_over_tls_too_and_metrics_are_for_who_sees_all() {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let guarded = guarded().await;
    let get = async |path: &str, uri: Option<&str>, header: &str| {
        let mut roots = rustls::RootCertStore::empty();
        let trusted = CertificateDer::from_pem_slice(guarded.authority.pem.as_bytes()).expect("a certificate");
        roots.add(trusted).expect("trusted");
        let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
        let config = match uri {
            None => builder.with_no_client_auth(),
            Some(uri) => {
                let (certificate, key) = guarded.authority.sign(SanType::URI(uri.try_into().expect("a URI")));
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![certificate], key).expect("a pair")
            }
        };
        let address = guarded.running.server.http().expect("HTTP is served");
        let stream = tokio::net::TcpStream::connect(address).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let mut stream = connector.connect(name, stream).await.expect("shaken hands");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut text = String::new();
        // The other side may close without a word of farewell.
        let _ = stream.read_to_string(&mut text).await;
        text.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok()).expect("a status")
    };
    assert_eq!(get("/readyz", None, "").await, 200, "probes have no credentials");
    assert_eq!(get("/metrics", None, "").await, 401);
    assert_eq!(get("/metrics", Some("spiffe://test/acme/ci"), "").await, 403);
    assert_eq!(get("/metrics", Some("spiffe://test/looks"), "").await, 200);
    assert_eq!(get("/metrics", None, &format!("Authorization: Bearer {TOKEN}\r\n")).await, 403);
    assert_eq!(get("/metrics", None, "Authorization: Bearer nonsense\r\n").await, 401);
    assert_eq!(get("/loglevel", Some("spiffe://test/looks"), "").await, 403);
    assert_eq!(get("/loglevel", Some("spiffe://test/root"), "").await, 200);
}
