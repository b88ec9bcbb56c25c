//! HTTP/1.1 on connections that were accepted. Nobody keeps a place by saying little: what a caller has to say must come
//! in time.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio_stream::StreamExt as _;
use tower::ServiceExt as _;

use crate::auth::Peer;

use super::Accepting;

/// How long callers are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the head of a request, from when the connection was opened or the request before was answered.
    pub head: Duration,
    /// For its body, and for the answer to it.
    pub answer: Duration,
}

impl Default for Patience {
    /// A head comes at once, but a connection is kept between the scrapes of a half minute; the metrics of the largest
    /// ledgers take some seconds.
    fn default() -> Self {
        Self { head: Duration::from_secs(35), answer: Duration::from_secs(30) }
    }
}

/// Serves what is accepted until `stopping`, and then until what is under way has been answered. Handlers find their
/// [`Peer`] as connect info.
pub async fn serve(
    router: Router,
    mut connections: Accepting,
    patience: Patience,
    stopping: impl Future<Output = ()> + Send,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience.head);
    let open = GracefulShutdown::new();
    tokio::pin!(stopping);
    loop {
        let connection = tokio::select! {
            () = &mut stopping => break,
            connection = connections.next() => connection,
        };
        let Some(Ok(connection)) = connection else { break };
        let (peer, router) = (connection.peer().clone(), router.clone());
        let service = service_fn(move |request| answer(router.clone(), peer.clone(), patience.answer, request));
        let served = open.watch(http.serve_connection(TokioIo::new(connection), service));
        tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::debug!(%error, "an HTTP connection was ended");
            }
        });
    }
    drop(connections);
    open.shutdown().await;
}

async fn answer(
    router: Router,
    peer: Peer,
    within: Duration,
    mut request: Request<Incoming>,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(ConnectInfo(peer));
    match tokio::time::timeout(within, router.oneshot(request.map(Body::new))).await {
        Ok(answered) => answered,
        Err(_) => Ok((StatusCode::REQUEST_TIMEOUT, "this took too long\n").into_response()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use axum::Router;
    use axum::extract::ConnectInfo;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::{Patience, serve};
    use crate::auth::Peer;
    use crate::listen::{Listening, Room};

    const NEVER: Duration = Duration::from_secs(86_400);
    const SHORT: Duration = Duration::from_millis(50);

    struct Served {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        ended: JoinHandle<()>,
    }

    async fn start(patience: Patience, connections_max: usize) -> Served {
        let room = Room { connections_max, ..Room::HTTP };
        let listening = Listening::bind("http", SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
        let address = listening.address();
        let hello = |ConnectInfo(peer): ConnectInfo<Peer>, body: String| async move {
            assert!(peer.names().is_none());
            format!("hello {body}")
        };
        let router = Router::new().route("/", get(hello).put(hello));
        let (stop, stopping) = oneshot::channel();
        let stopping = async move { stopping.await.unwrap_or(()) };
        let ended = tokio::spawn(serve(router, listening.accept(None, room), patience, stopping));
        Served { address, stop, ended }
    }

    impl Served {
        async fn say(&self, text: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.expect("connected");
            stream.write_all(text.as_bytes()).await.expect("written");
            stream
        }
    }

    /// All that comes until the other side ends the connection.
    async fn rest(mut stream: TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("its end");
        text
    }

    const WHOLE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const LAST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

    #[tokio::test]
    async fn who_does_not_say_what_it_wants_is_let_go() {
        let served = start(Patience { head: SHORT, answer: NEVER }, 10).await;
        for little in ["", "GET / HTTP/1.1\r\nHo", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
            let stream = served.say(little).await;
            assert!(!rest(stream).await.contains("hello"), "{little}");
        }
        // Nor who asked once, and then keeps the connection.
        assert!(rest(served.say(WHOLE).await).await.ends_with("hello "));
        assert!(rest(served.say(LAST).await).await.ends_with("hello "));
    }

    #[tokio::test]
    async fn those_who_say_little_keep_nobody_out_for_long() {
        let served = start(Patience { head: SHORT, answer: NEVER }, 2).await;
        let (one, two) = (served.say("G").await, served.say("G").await);
        assert!(rest(served.say(LAST).await).await.ends_with("hello "), "as soon as there is a place");
        assert_eq!((rest(one).await, rest(two).await), (String::new(), String::new()));
    }

    #[tokio::test]
    async fn no_more_are_served_at_once_than_there_are_places() {
        let served = start(Patience { head: NEVER, answer: NEVER }, 1).await;
        let (mut first, second) = (served.say("GET / HTTP/1.1\r\n").await, served.say(LAST).await);
        first.write_all(b"Host: localhost\r\nConnection: close\r\n\r\n").await.expect("written");
        assert!(rest(first).await.ends_with("hello "));
        assert!(rest(second).await.ends_with("hello "), "it waited for its place");
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let served = start(Patience { head: NEVER, answer: SHORT }, 10).await;
        let little = "PUT / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 10\r\n\r\nx";
        let answer = rest(served.say(little).await).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }

    #[tokio::test]
    async fn what_is_idle_does_not_hold_up_the_end() {
        let served = start(Patience { head: NEVER, answer: NEVER }, 10).await;
        let mut idle = served.say(WHOLE).await;
        let mut one = [0];
        idle.read_exact(&mut one).await.expect("an answer");
        served.stop.send(()).expect("served");
        served.ended.await.expect("it ends");
        assert!(rest(idle).await.ends_with("hello "));
    }
}
