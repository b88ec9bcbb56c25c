//! What listens where no gRPC was spoken: Headgate's own HTTP port, more often than not.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use tonic::transport::Uri;

use super::fault::Fault;

/// How long it may take to answer: it was just reached, and broke off.
const WITHIN: Duration = Duration::from_secs(1);
/// How every answer of HTTP/1 begins.
const HTTP1: &[u8] = b"HTTP/1.";

/// The same fault, told for what it is where whoever was called speaks another protocol.
pub(super) fn looked_into(fault: Fault) -> Fault {
    match fault {
        Fault::Unreachable { server, why } if !why.contains("refused") && speaks_http1(&server) => {
            Fault::Failed(format!(
                "the server at {server} speaks HTTP/1 and no gRPC: is that its port for HTTP (listen.http)? --server names \
                 the one for gRPC (listen.grpc, 7070 if not said)"
            ))
        }
        fault => fault,
    }
}

/// Whether a question of HTTP/1 is answered in HTTP/1. Where nothing comes of it, nothing is known.
fn speaks_http1(server: &str) -> bool {
    let asked = || -> Option<bool> {
        let uri: Uri = server.parse().ok()?;
        if uri.scheme_str() != Some("http") {
            return None;
        }
        let host = uri.host()?;
        let address = (host.trim_start_matches('[').trim_end_matches(']'), uri.port_u16().unwrap_or(80));
        let address = address.to_socket_addrs().ok()?.next()?;
        let mut stream = TcpStream::connect_timeout(&address, WITHIN).ok()?;
        stream.set_read_timeout(Some(WITHIN)).ok()?;
        stream.set_write_timeout(Some(WITHIN)).ok()?;
        write!(stream, "GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
        let mut begins = [0; HTTP1.len()];
        stream.read_exact(&mut begins).ok()?;
        Some(begins == HTTP1)
    };
    asked().unwrap_or(false)
}
