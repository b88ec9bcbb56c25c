//! The same nothing as an ordinary gRPC service is written: tonic on a runtime of several threads.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use headgate_proto::v1::admin_service_server::SERVICE_NAME as ADMIN;
use headgate_proto::v1::quota_service_server::{QuotaService, QuotaServiceServer};
use headgate_proto::v1::{self, Decision, operation, operation_result};
use tokio_stream::{Stream, StreamExt as _};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::{CALL_WINDOW_BYTES, CALLS_PER_CONNECTION_MAX, CONNECTION_WINDOW_BYTES, next_lease};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves what is accepted.
pub(super) async fn serve(listener: std::net::TcpListener) -> std::io::Error {
    let listener = match listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener)) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let served = tonic::transport::Server::builder()
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
        .initial_stream_window_size(CALL_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(QuotaServiceServer::new(Nothing))
        .add_service(Admin)
        .serve_with_incoming(incoming)
        .await;
    std::io::Error::other(served.map_or_else(|error| error.to_string(), |()| "it ended".to_owned()))
}

/// What an administrator asks for is done, without a word: so it can be set up as a server can.
#[derive(Clone)]
struct Admin;

impl NamedService for Admin {
    const NAME: &'static str = ADMIN;
}

impl tower::Service<http::Request<Body>> for Admin {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            // Of any message nothing is read, and one without a field answers it.
            let done = tower::service_fn(|_: Request<()>| async { nothing::<()>() });
            Ok(Grpc::new(ProstCodec::<(), ()>::default()).unary(done, request).await)
        })
    }
}

/// Allows everything, and does nothing.
struct Nothing;

fn checked() -> v1::CheckQuotaResponse {
    v1::CheckQuotaResponse { answer: Some(v1::Answer { decision: Decision::Allow.into(), ..v1::Answer::default() }) }
}

fn acquired() -> v1::AcquireResponse {
    let answer = v1::Answer { decision: Decision::Allow.into(), lease_id: next_lease(), ..v1::Answer::default() };
    v1::AcquireResponse { answer: Some(answer) }
}

fn result(operation: v1::Operation) -> v1::OperationResult {
    use operation::Operation as Asked;
    use operation_result::Result as Done;
    let result = operation.operation.map(|asked| match asked {
        Asked::Acquire(_) => Done::Acquire(acquired()),
        Asked::Check(_) => Done::Check(checked()),
        Asked::Confirm(_) => Done::Confirm(v1::ConfirmResponse::default()),
        Asked::Renew(_) => Done::Renew(v1::RenewResponse::default()),
        Asked::Resize(_) => Done::Resize(v1::ResizeResponse::default()),
        Asked::Release(_) => Done::Release(v1::ReleaseResponse::default()),
        Asked::Cancel(_) => Done::Cancel(v1::CancelResponse::default()),
    });
    v1::OperationResult { tag: operation.tag, status: None, result }
}

/// An answer that says nothing.
fn nothing<T: Default>() -> Result<Response<T>, Status> {
    Ok(Response::new(T::default()))
}

#[tonic::async_trait]
impl QuotaService for Nothing {
    type AcquireStreamStream = Answers<v1::AcquireStreamResponse>;
    type WatchStream = Answers<v1::WatchResponse>;

    async fn check_quota(&self, _: Request<v1::CheckQuotaRequest>) -> Result<Response<v1::CheckQuotaResponse>, Status> {
        Ok(Response::new(checked()))
    }

    async fn acquire(&self, _: Request<v1::AcquireRequest>) -> Result<Response<v1::AcquireResponse>, Status> {
        Ok(Response::new(acquired()))
    }

    async fn acquire_stream(
        &self,
        messages: Request<Streaming<v1::AcquireStreamRequest>>,
    ) -> Result<Response<Self::AcquireStreamStream>, Status> {
        let answer = |message: Result<v1::AcquireStreamRequest, Status>| {
            let results = message?.operations.into_iter().map(result).collect();
            Ok(v1::AcquireStreamResponse { results })
        };
        Ok(Response::new(Box::pin(messages.into_inner().map(answer))))
    }

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(Box::pin(tokio_stream::empty())))
    }

    async fn confirm(&self, _: Request<v1::ConfirmRequest>) -> Result<Response<v1::ConfirmResponse>, Status> {
        nothing()
    }

    async fn renew(&self, _: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        nothing()
    }

    async fn resize(&self, _: Request<v1::ResizeRequest>) -> Result<Response<v1::ResizeResponse>, Status> {
        nothing()
    }

    async fn release(&self, _: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        nothing()
    }

    async fn cancel(&self, _: Request<v1::CancelRequest>) -> Result<Response<v1::CancelResponse>, Status> {
        nothing()
    }

    async fn get(&self, _: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        nothing()
    }

    async fn r#await(&self, _: Request<v1::AwaitRequest>) -> Result<Response<v1::AwaitResponse>, Status> {
        nothing()
    }
}
