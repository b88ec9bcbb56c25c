//! Servers that misbehave: each is named in one sentence, and the exit status is not 0.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use http::Response;

use crate::harness::{Headgate, Ran, run, run_with_handles};

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
        "closes connections before it has said anything in HTTP/2: is it a gRPC server, and is http right?",
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
    fails(&fake(hold), "takes connections, but has said nothing in 2 s");
}

/// Takes what it is sent, and says nothing.
fn hold(mut stream: TcpStream) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
    while stream.read(&mut [0; 4096]).is_ok_and(|bytes| bytes > 0) {}
}

/// The settings of HTTP/2, all of which are as ever.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

#[test]
fn a_server_that_agrees_to_speak_and_then_says_nothing() {
    let silent = || {
        fake(|mut stream| {
            let _ = stream.write_all(&SETTINGS);
            hold(stream);
        })
    };
    fails(&silent(), "has not answered for 2 s when it is asked one thing: is it overloaded");
    let ran = run(&["run", &silent(), "--setup", "--patience", "1s"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("when it is set up: is it overloaded"), "{}", ran.err);
}

#[test]
fn one_that_sends_everything_back() {
    let echo = fake(|mut stream| {
        let mut buffer = [0; 4096];
        while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
            let _ = stream.write_all(&buffer[..bytes]);
        }
    });
    fails(&echo, "answers, but not in HTTP/2: it sends back what it is sent: is it a gRPC server");
}

#[test]
fn one_that_resets_connections() {
    let reset = fake(|stream| {
        // With something unread, closing it resets it.
        let _ = stream.peek(&mut [0; 1]);
    });
    fails(&reset, "closes connections before it has said anything in HTTP/2");
}

/// Fails a herd of three, and says why in one sentence.
fn herd_fails(target: &str, more: &[&str], expected: &str) {
    let told = ["herd", target, "-c", "3", "--rounds", "1", "--patience", "2s"];
    let ran = run(&[&told[..], more].concat());
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    let said = format!("3 of 3 clients failed at {target}: ");
    assert!(ran.err.contains(&said) && ran.err.contains(expected), "{expected}: {}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

#[test]
fn a_herd_that_comes_to_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let gone = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    herd_fails(&gone, &[], "nothing listens at");
    herd_fails(&fake(hold), &[], "no answer came within 2 s");
    herd_fails(&fake(drop), &[], "it closed the connection before it answered");
    let old = fake(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        hold(stream);
    });
    herd_fails(&old, &[], "it does not speak HTTP/2 as it should");
}

#[test]
fn tls_where_there_is_none_and_none_where_there_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem").to_str().expect("a path").to_owned();
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(&ca, key.cert.pem()).expect("written");
    let plain = Headgate::start("");
    let port = plain.url.rsplit(':').next().expect("a port");
    let target = format!("https://localhost:{port}");
    for verb in [&["run"][..], &["herd", "-c", "3", "--rounds", "1"], &["kueue", "--part", "0.01"]] {
        let ran = run(&[verb, &[&target, "--ca", &ca]].concat());
        assert_eq!(ran.code, Some(1), "{verb:?}: {}", ran.out);
        assert!(ran.err.contains("is https right?"), "{verb:?}: {}", ran.err);
    }
    let key_path = folder.path().join("key.pem").to_str().expect("a path").to_owned();
    std::fs::write(&key_path, key.signing_key.serialize_pem()).expect("written");
    let tls = Headgate::start(&format!("tls: {{cert: {ca}, key: {key_path}}}\n"));
    for verb in [&["run"][..], &["kueue", "--part", "0.01"]] {
        let ran = run(&[verb, &[&format!("http://{}", tls.url)]].concat());
        assert_eq!(ran.code, Some(1), "{verb:?}: {}", ran.out);
        assert!(ran.err.contains("and is http right?"), "{verb:?}: {}", ran.err);
    }
    herd_fails(&format!("http://{}", tls.url), &[], "it does not speak HTTP/2 as it should");
}

#[test]
fn more_connections_than_this_process_or_the_server_has_room_for() {
    let server = Headgate::start("");
    let target = format!("http://{}", server.url);
    for told in [&["run", &target, "-c", "60", "-n", "60"][..], &["herd", &target, "-c", "60"]] {
        let ran = run_with_handles(100, told);
        assert_eq!(ran.code, Some(2), "{told:?}: {}", ran.out);
        assert!(
            ran.err.contains("60 connections take ") && ran.err.contains("this process may have 100"),
            "{}",
            ran.err
        );
    }
    // One after another they are taken, until one is not.
    let few = fake_room_for(3);
    let ran = run(&["run", &few, "-c", "5", "-n", "5", "--patience", "2s"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("3 connections are open: does it take more?"), "{}", ran.err);
}

/// Speaks HTTP/2 to so many, of whom the first is answered, and to nobody after them.
fn fake_room_for(connections: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("it does not block");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                if held.len() >= connections {
                    held.push(tokio::spawn(async move {
                        let _stream = stream;
                        std::future::pending::<()>().await;
                    }));
                    continue;
                }
                held.push(tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((_, respond))) = connection.accept().await {
                        allow(respond);
                    }
                }));
            }
        });
    });
    format!("http://{address}")
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
