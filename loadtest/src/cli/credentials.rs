//! What is shown to a server, and what is looked at of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::drive::link::Dial;
use crate::fault::Fault;
use crate::kueue::Shown;
use crate::process::listening_on;
use crate::target::Target;

/// What is shown to the server.
#[derive(Args, Clone, Debug)]
pub(super) struct Credentials {
    /// Certificates of those who may vouch for the server
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// This client's certificate
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// This client's key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// A file with the token that is shown
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Credentials {
    /// What it takes to connect to a target.
    pub(super) fn dial(&self, target: &Target, patience: f64) -> Result<Dial, Fault> {
        let tls = if target.tls { Some(Arc::new(self.tls()?)) } else { None };
        Ok(Dial {
            target: target.clone(),
            embedded: None,
            tls,
            authorization: self.authorization()?,
            patience: Duration::from_secs_f64(patience),
            calls_max: u32::MAX,
        })
    }

    /// What is said in `authorization`.
    fn authorization(&self) -> Result<Option<String>, Fault> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let token = read(path)?;
        let token = token.trim();
        // Whatever else would be another header, or none.
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(unreadable(path, &"a token is one word of visible ASCII characters"));
        }
        Ok(Some(format!("Bearer {token}")))
    }

    /// What it takes to connect to a target with tonic, and what is shown on every call.
    pub(super) fn endpoint(&self, target: &Target) -> Result<(Endpoint, Shown), Fault> {
        let refuse = |error: &dyn std::fmt::Display| Fault::Usage(format!("{}: {error}", target.url()));
        let mut endpoint = Endpoint::from_shared(target.url()).map_err(|error| refuse(&error))?.tcp_nodelay(true);
        if target.tls {
            // So what is wrong with a file is said of that file.
            self.tls()?;
            let mut tls = ClientTlsConfig::new();
            if let Some(ca) = &self.ca {
                tls = tls.ca_certificate(Certificate::from_pem(read(ca)?));
            }
            if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
                tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| refuse(&error))?;
        }
        let authorization = self.authorization()?.map(|text| text.parse().map_err(|error| refuse(&error)));
        Ok((endpoint, Shown { authorization: authorization.transpose()? }))
    }

    fn tls(&self) -> Result<rustls::ClientConfig, Fault> {
        // Another part of the process may have installed it already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ca = self.ca.as_ref().ok_or_else(|| {
            Fault::Usage("https needs --ca FILE: the certificates of those who vouch for the server".to_owned())
        })?;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).map_err(|error| unreadable(ca, &error))?;
        }
        let config = rustls::ClientConfig::builder().with_root_certificates(roots);
        let mut config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let read = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
                config.with_client_auth_cert(certificates(cert)?, read).map_err(|error| unreadable(cert, &error))?
            }
            _ => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Fault {
    Fault::Usage(format!("{} cannot be used: {error}", path.display()))
}

fn read(path: &Path) -> Result<String, Fault> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

/// The processes of a server: those that are named, else those that are found by its port where it is on this machine.
pub(super) fn processes(named: &[u32], target: &Target) -> Vec<u32> {
    if named.is_empty() && is_here(target) { listening_on(target.port) } else { named.to_vec() }
}

fn is_here(target: &Target) -> bool {
    target.host == "localhost" || target.host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}
