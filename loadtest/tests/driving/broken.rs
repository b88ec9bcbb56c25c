//! Servers that misbehave: each is named in one sentence, and the exit status is not 0.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use http::Response;

use crate::harness::{Headgate, Ran, run};

/// Serves every connection in its own way.
fn fake(serve: impl Fn(TcpStream) + Send + Sync + Copy + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream));
        }
    });
    format!("http://{address}")
}

/// Speaks HTTP/2, and answers the first call of all as it should; the others as it likes.
fn fake_grpc(others: fn(h2::server::SendResponse<Bytes>)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("it does not block");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let mut asked = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut connection) = h2::server::handshake(stream).await else { continue };
                while let Some(Ok((_, respond))) = connection.accept().await {
                    asked += 1;
                    if asked == 1 { allow(respond) } else { others(respond) }
                }
            }
        });
    });
    format!("http://{address}")
}

fn allow(mut respond: h2::server::SendResponse<Bytes>) {
    let response = Response::builder().header("content-type", "application/grpc").body(()).expect("a response");
    let mut send = respond.send_response(response, false).expect("sent");
    send.send_data(Bytes::from_static(&[0, 0, 0, 0, 4, 10, 2, 8, 1]), false).expect("sent");
    let trailers =
        [("grpc-status", "0")].map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
    send.send_trailers(trailers.into_iter().collect()).expect("sent");
}

fn drive(target: &str) -> Ran {
    run(&["run", target, "-d", "300ms", "--warm-up", "0s", "-n", "2", "-c", "1", "--patience", "2s"])
}

fn fails(target: &str, expected: &str) {
    let ran = drive(target);
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains(expected), "{expected}: {}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

#[test]
fn nothing_that_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    fails(&target, "nothing listens at http://127.0.0.1:");
}

#[test]
fn a_port_that_speaks_something_else() {
    let server = Headgate::start("");
    fails(
        &format!("http://{}", server.http),
        "closes connections before it has said anything in HTTP/2: is it a gRPC server?",
    );
    let old = fake(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        let _ = stream.read(&mut [0; 100]);
    });
    fails(&old, "answers, but not in HTTP/2: it began with \"HTTP/1.1 400 Bad Request\"");
}

#[test]
fn a_server_that_closes_or_says_nothing() {
    fails(&fake(drop), "closes connections before it has said anything in HTTP/2");
    let silent = fake(|mut stream| {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
        while stream.read(&mut [0; 100]).is_ok_and(|bytes| bytes > 0) {}
    });
    fails(&silent, "takes connections, but has said nothing in 2 s");
}

#[test]
fn a_server_that_hangs() {
    let held = |respond| {
        // Kept, so that it is neither answered nor reset.
        std::mem::forget::<h2::server::SendResponse<Bytes>>(respond);
    };
    let ran = drive(&fake_grpc(held));
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("has not answered for 2 s, with 2 operations under way"), "{}", ran.err);
}

#[test]
fn a_server_that_resets_every_call() {
    let ran = drive(&fake_grpc(|mut respond| respond.send_reset(h2::Reason::INTERNAL_ERROR)));
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("the server reset calls (code 2 of HTTP/2)") || ran.err.contains("ended the connection"),
        "{}",
        ran.err
    );
}

#[test]
fn what_is_no_target_or_no_scenario() {
    for (arguments, expected) in [
        (&["run", "7070"][..], "\"7070\" is no target"),
        (&["run", "http://h", "-n", "2", "-c", "4"], "less than one on each of 4 connections"),
        (&["run", "stream+http://h?batch=64", "-n", "8", "-c", "1"], "less than one message of 64 operations"),
        (&["run", "http://h", "--scenario", "nowhere.yaml"], "nowhere.yaml: the file cannot be read"),
        (&["run", "http://h", "--assert", "p98<1ms"], "nothing is measured that is called"),
        (&["run", "http://h", "--bursts", "5:1s"], "bursts come on top of a rate"),
        (&["run", "https://h"], "https needs --ca"),
    ] {
        let ran = run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
    }
}
