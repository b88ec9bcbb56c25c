//! The server's certificate, and whose certificates callers are known by.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::config::Tls;

/// Makes the process's default choice of cryptography, once; a choice that was made before stays.
pub fn install_crypto() {
    // An error says that one was installed already, by the program that this library is in.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Why certificates cannot be used.
#[derive(Debug)]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and what would help.
    pub why: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tls: {} {}", self.path.display(), self.why)
    }
}

impl std::error::Error for TlsError {}

/// The certificates in force for one protocol; swapped whole when files change. Connections keep those that they began
/// with.
#[derive(Debug)]
pub struct Certificates {
    /// As it is named in the handshake.
    protocol: &'static [u8],
    config: ArcSwap<ServerConfig>,
}

impl Certificates {
    /// Reads them, for connections that speak `protocol` (`h2`, `http/1.1`).
    pub fn load(tls: &Tls, protocol: &'static [u8]) -> Result<Self, TlsError> {
        Ok(Self { protocol, config: ArcSwap::from_pointee(read(tls, protocol)?) })
    }

    /// Reads them again, to be taken up by [`Certificates::swap`].
    pub fn read(&self, tls: &Tls) -> Result<Read, TlsError> {
        read(tls, self.protocol).map(|config| Read(Arc::new(config)))
    }

    /// What was read is in force from now on.
    pub fn swap(&self, Read(config): Read) {
        self.config.store(config);
    }

    pub(super) fn now(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

/// Certificates that were read, and are not in force yet.
#[derive(Debug)]
pub struct Read(Arc<ServerConfig>);

fn read(tls: &Tls, protocol: &[u8]) -> Result<ServerConfig, TlsError> {
    let Tls { cert, key, client_ca } = tls;
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| refuse(key, format!("has no private key in PEM: {error}")))?;
    let builder = ServerConfig::builder();
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| refuse(path, format!("has an unusable certificate: {error}")))?;
            }
            // Who shows none may still send a token; one that is shown must be good.
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| refuse(path, format!("has no certificate that can be trusted: {error}")))?,
            )
        }
    };
    let mut config = builder
        .with_single_cert(chain, private)
        .map_err(|error| refuse(cert, format!("does not go with {}: {error}", key.display())))?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| refuse(path, format!("cannot be read: {error}")))?
        .collect();
    let found = found.map_err(|error| refuse(path, format!("is no list of certificates in PEM: {error}")))?;
    if found.is_empty() { Err(refuse(path, "has no certificate in PEM".to_owned())) } else { Ok(found) }
}

fn refuse(path: &Path, why: String) -> TlsError {
    TlsError { path: path.to_owned(), why }
}
