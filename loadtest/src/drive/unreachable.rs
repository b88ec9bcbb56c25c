//! Why a server cannot be reached, in words that say what would help.

use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error as Tls};

use crate::target::{Protocol, Target};

/// Why a connection to a target was never one.
pub(crate) fn unreachable(target: &Target, error: &io::Error, patience: Duration) -> String {
    let url = target.url();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("nothing listens at {url}: start the server, or name another with its host and port")
        }
        io::ErrorKind::TimedOut => format!("{url} does not take connections within {} s", patience.as_secs_f64()),
        io::ErrorKind::AddrNotAvailable => format!(
            "{url} cannot be reached: this machine has no port left to come from (net.ipv4.ip_local_port_range); use fewer \
             connections, or wait for those of before to be forgotten"
        ),
        _ if is_closed(error) => closed_early(target),
        _ => format!("{url} cannot be reached: {}", plain(error)),
    }
}

/// A target that closes a connection before it has begun.
pub(super) fn closed_early(target: &Target) -> String {
    format!(
        "{} closes connections before it has said anything in HTTP/2: is it {}, and is {} right?",
        target.url(),
        expected(target),
        scheme(target)
    )
}

/// What a target should be.
pub(super) fn expected(target: &Target) -> &'static str {
    match target.protocol {
        Protocol::Review => "a webhook that speaks HTTP/2",
        Protocol::Quota | Protocol::Stream | Protocol::RateLimit | Protocol::Embedded => "a gRPC server",
    }
}

pub(super) fn scheme(target: &Target) -> &'static str {
    if target.tls { "https" } else { "http" }
}

/// Whether it says no more than that the other side is gone.
pub(crate) fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// What the system says, without its number, or TLS.
pub(crate) fn plain(error: &io::Error) -> String {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
        return of_tls(tls);
    }
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

fn of_tls(error: &Tls) -> String {
    let help = match error {
        Tls::InvalidMessage(_) | Tls::InappropriateMessage { .. } | Tls::InappropriateHandshakeMessage { .. } => {
            return "it does not speak TLS: is https right?".to_owned();
        }
        Tls::NoApplicationProtocol | Tls::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            return "it speaks TLS, but not HTTP/2 over it".to_owned();
        }
        Tls::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure) => {
            "does it ask for a certificate? show it one with --cert and --key"
        }
        Tls::AlertReceived(_) => "it refuses what it was shown",
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => "nobody in --ca vouches for it",
        Tls::InvalidCertificate(_) => "name the host as its certificate does, and its issuer with --ca",
        _ => return error.to_string(),
    };
    format!("{error}: {help}")
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls::{CertificateError, Error as Tls, InvalidMessage};

    use super::plain;

    #[test]
    fn what_is_wrong_is_said_with_what_would_help() {
        for (error, expected) in [
            (Tls::InvalidMessage(InvalidMessage::InvalidContentType), "it does not speak TLS: is https right?"),
            (
                Tls::InvalidCertificate(CertificateError::UnknownIssuer),
                "invalid peer certificate: UnknownIssuer: nobody in --ca vouches for it",
            ),
            (Tls::NoApplicationProtocol, "it speaks TLS, but not HTTP/2 over it"),
        ] {
            assert_eq!(plain(&io::Error::other(error)), expected);
        }
        assert_eq!(plain(&io::Error::from_raw_os_error(104)), "connection reset by peer");
    }
}
