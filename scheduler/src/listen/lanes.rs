//! Connections handed out to lanes. A lane is a thread with a runtime of its own, which serves its part of them: nothing
//! that is done for one call is touched by two cores, and none waits for another to wake up.
//!
//! They are handed out on purpose, each to the lane that has the fewest. Left to the kernel, by a listener for each lane,
//! all of few connections may come to one.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{Arrived, Arriving, Certificates, Connection, Listening, Room};

/// What is served on a connection. Each lane has its own.
pub trait Serve: Send + Sync + 'static {
    /// Serves a connection until its end, or soon after the server is told to end.
    fn serve(self: Arc<Self>, connection: Connection) -> impl Future<Output = ()> + Send;
}

/// Lanes that run. Dropping them ends what is under way on them.
#[derive(Debug)]
pub struct Lanes {
    arriving: Arriving,
    lanes: Vec<Lane>,
    /// Comes to its end when the last of them has.
    ended: mpsc::Receiver<Infallible>,
}

/// A thread that serves connections, as it is known to the one who hands them out.
#[derive(Debug)]
struct Lane {
    connections: mpsc::UnboundedSender<(Arrived, Carried)>,
    carries: Arc<AtomicUsize>,
    /// Dropped, the lane ends at once.
    alive: oneshot::Sender<Infallible>,
}

/// A connection among those that its lane carries, for as long as it lives.
#[derive(Debug)]
struct Carried(Arc<AtomicUsize>);

impl Carried {
    fn by(lane: &Lane) -> Self {
        lane.carries.fetch_add(1, Ordering::Relaxed);
        Self(lane.carries.clone())
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// As many lanes as the machine has cores for this process.
pub fn as_many_as_cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

impl Listening {
    /// Begins so many lanes, each with what it serves.
    pub fn on_lanes<S: Serve>(
        self,
        tls: Option<&Arc<Certificates>>,
        room: Room,
        count: NonZeroUsize,
        mut serve: impl FnMut() -> S,
    ) -> io::Result<Lanes> {
        let (ends, ended) = mpsc::channel(1);
        let start = |number| start(number, tls.cloned(), Arc::new(serve()), ends.clone());
        let lanes = (0..count.get()).map(start).collect::<io::Result<_>>()?;
        Ok(Lanes { arriving: self.arriving(room), lanes, ended })
    }
}

impl Lanes {
    /// Hands out what is accepted until `stopping`, and waits until all of it has been served.
    pub async fn serve(self, stopping: impl Future<Output = ()>) {
        let Self { mut arriving, lanes, mut ended } = self;
        tokio::pin!(stopping);
        let mut last = 0;
        loop {
            let arrived = tokio::select! {
                biased;
                () = &mut stopping => break,
                arrived = arriving.next() => arrived,
            };
            last = fewest(&lanes, last);
            let lane = &lanes[last];
            // A lane ends by itself only when it is told that nothing more comes.
            drop(lane.connections.send((arrived, Carried::by(lane))));
        }
        drop(arriving);
        // Nothing more comes; they stay alive until they are done.
        let alive: Vec<_> = lanes.into_iter().map(|lane| lane.alive).collect();
        ended.recv().await;
        drop(alive);
    }
}

/// The lane with the fewest connections; of several, the next after the one that was chosen last.
fn fewest(lanes: &[Lane], last: usize) -> usize {
    let after = |at: &usize| (lanes[*at].carries.load(Ordering::Relaxed), (at + lanes.len() - last - 1) % lanes.len());
    (0..lanes.len()).min_by_key(after).unwrap_or(0)
}

fn start<S: Serve>(
    number: usize,
    tls: Option<Arc<Certificates>>,
    serve: Arc<S>,
    ends: mpsc::Sender<Infallible>,
) -> io::Result<Lane> {
    let (connections, handed) = mpsc::unbounded_channel();
    let (alive, dead) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        runtime.block_on(async {
            tokio::select! {
                () = take(handed, tls, serve) => {}
                _ = dead => {}
            }
        });
        // Whoever waits for the end of the last lane finds all of its connections closed.
        drop(runtime);
        drop(ends);
    };
    std::thread::Builder::new().name(format!("headgate-lane-{number}")).spawn(run)?;
    Ok(Lane { connections, carries: Arc::default(), alive })
}

/// Serves what is handed out, and ends when nothing more is and all of it has been served.
async fn take<S: Serve>(
    mut handed: mpsc::UnboundedReceiver<(Arrived, Carried)>,
    tls: Option<Arc<Certificates>>,
    serve: Arc<S>,
) {
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            next = handed.recv() => match next {
                Some((arrived, carried)) => {
                    let (tls, serve) = (tls.clone(), serve.clone());
                    serving.spawn(async move {
                        if let Some(connection) = welcome(arrived, tls).await {
                            serve.serve(connection).await;
                        }
                        drop(carried);
                    });
                }
                None => break,
            },
            Some(_) = serving.join_next() => {}
        }
    }
    while serving.join_next().await.is_some() {}
}

/// Takes a connection over from the runtime that accepted it, and shakes hands.
async fn welcome(arrived: Arrived, tls: Option<Arc<Certificates>>) -> Option<Connection> {
    let Arrived { surface, stream, address, place, room } = arrived;
    let stream = match stream.into_std().and_then(TcpStream::from_std) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(surface, %address, %error, "a connection could not be taken over");
            return None;
        }
    };
    Arrived { surface, stream, address, place, room }.welcome(tls).await
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::num::NonZeroUsize;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::Serve;
    use crate::listen::{Connection, Listening, Room};

    /// Says which lane it is, and then keeps the connection until the caller ends it.
    struct Says(usize);

    impl Serve for Says {
        async fn serve(self: Arc<Self>, mut connection: Connection) {
            let mut rest = Vec::new();
            if connection.write_all(self.0.to_string().as_bytes()).await.is_ok() {
                let _ = connection.read_to_end(&mut rest).await;
            }
        }
    }

    struct Served {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        ended: tokio::task::JoinHandle<()>,
    }

    async fn start(count: usize) -> Served {
        let listening = Listening::bind("test", SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
        let address = listening.address();
        let number = AtomicUsize::new(0);
        let serve = || Says(number.fetch_add(1, Ordering::Relaxed));
        let count = NonZeroUsize::new(count).expect("some");
        let lanes = listening.on_lanes(None, Room { opening_bytes: 0, ..Room::GRPC }, count, serve).expect("lanes");
        let (stop, stopping) = oneshot::channel();
        let ended = tokio::spawn(lanes.serve(async move { stopping.await.unwrap_or(()) }));
        Served { address, stop, ended }
    }

    impl Served {
        /// A connection, and the lane that it came to.
        async fn connect(&self) -> (TcpStream, usize) {
            let mut stream = TcpStream::connect(self.address).await.expect("connected");
            let lane = stream.read_u8().await.expect("the lane's number");
            (stream, usize::from(lane - b'0'))
        }
    }

    /// Ends a connection, and waits until its lane has seen it.
    async fn end(mut stream: TcpStream) {
        stream.shutdown().await.expect("ended");
        assert_eq!(stream.read(&mut [0]).await.expect("its end"), 0);
    }

    #[tokio::test]
    async fn each_connection_comes_to_the_lane_that_has_the_fewest() {
        let served = start(3).await;
        let mut connections = Vec::new();
        for _ in 0..6 {
            connections.push(served.connect().await);
        }
        let on =
            |lane: usize, connections: &[(TcpStream, usize)]| connections.iter().filter(|(_, at)| *at == lane).count();
        assert_eq!([on(0, &connections), on(1, &connections), on(2, &connections)], [2, 2, 2]);
        let (ended, kept): (Vec<_>, Vec<_>) = connections.into_iter().partition(|(_, lane)| *lane == 1);
        for (stream, _) in ended {
            end(stream).await;
        }
        // What a lane has seen the end of is counted no more soon after.
        let mut next = served.connect().await;
        while next.1 != 1 {
            end(next.0).await;
            next = served.connect().await;
        }
        drop(kept);
    }

    #[tokio::test]
    async fn what_was_accepted_is_served_to_its_end() {
        let served = start(2).await;
        let (stream, _) = served.connect().await;
        served.stop.send(()).expect("it serves");
        assert!(!served.ended.is_finished(), "a connection is open");
        end(stream).await;
        served.ended.await.expect("it ends");
        assert!(TcpStream::connect(served.address).await.is_err(), "nobody listens");
    }

    #[tokio::test]
    async fn lanes_that_are_dropped_end_at_once() {
        let served = start(2).await;
        let (mut stream, _) = served.connect().await;
        served.ended.abort();
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "it is cut off");
    }
}
