//! A socket that never blocks once it is connected, plain or over TLS.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

/// A socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Socket {
    /// Connects; waits until the server has taken the connection.
    pub(crate) fn connect(
        host: &str,
        port: u16,
        tls: Option<&Arc<rustls::ClientConfig>>,
        patience: Duration,
    ) -> io::Result<Self> {
        let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
        let mut stream = Err(io::Error::other("the name has no address"));
        for address in &addresses {
            stream = TcpStream::connect_timeout(address, patience);
            if stream.is_ok() {
                break;
            }
        }
        let stream = stream?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let tls = match tls {
            None => None,
            Some(config) => {
                let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                let mut connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                connection.set_buffer_limit(None);
                Some(Box::new(connection))
            }
        };
        Ok(Self { stream, tls })
    }

    /// Reads what there is; `WouldBlock` where there is nothing, 0 at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.read(buffer) };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            if tls.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            let processed = tls.process_new_packets();
            // A handshake answers, and a failed one says why, before anything else happens.
            flush(tls, &mut self.stream)?;
            processed.map_err(io::Error::other)?;
        }
    }

    /// Writes as much as is taken of `bytes`, and drops that from it. True: all of it.
    pub(crate) fn write(&mut self, bytes: &mut Vec<u8>) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            bytes.clear();
            return flush(tls, &mut self.stream);
        }
        let mut written = 0;
        let result = loop {
            if written == bytes.len() {
                break Ok(true);
            }
            match self.stream.write(&bytes[written..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(some) => written += some,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if written == bytes.len() {
            bytes.clear();
        } else {
            bytes.drain(..written);
        }
        result
    }
}

fn flush(tls: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
