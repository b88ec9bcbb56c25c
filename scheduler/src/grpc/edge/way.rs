//! Which way a call goes, by its head.

use tonic::codegen::http::request::Parts;
use tonic::codegen::http::{HeaderValue, Method, StatusCode};

use crate::config::Permission;
use crate::grpc::operations::Kind;

/// What Envoy's gateways ask.
const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// Which way a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A call of its own, decided here.
    Unary(Unary),
    /// A stream of operations, decided here.
    Stream,
    /// Through the services.
    Ordinary,
    /// It is no call of gRPC.
    NoCall(StatusCode),
}

/// A call of its own that is decided here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    /// An operation.
    Operation(Kind),
    /// What a gateway asks before it lets a call pass.
    Limit,
}

impl Unary {
    /// What a caller must be permitted to do.
    pub(super) fn permission(self) -> Permission {
        match self {
            Self::Operation(kind) => kind.permission(),
            Self::Limit => Permission::Acquire,
        }
    }
}

/// What the head of a call says, as far as it matters before its message is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub(super) way: Way,
    pub(super) timeout: Option<&'a [u8]>,
    pub(super) authorization: Option<&'a HeaderValue>,
}

impl<'a> Head<'a> {
    pub(super) fn of(parts: &'a Parts) -> Self {
        let mut content = None;
        let (mut timeout, mut authorization, mut plain) = (None, None, true);
        // Of what is said twice, the first counts.
        for (name, value) in &parts.headers {
            match name.as_str() {
                "content-type" => content = content.or(Some(value.as_bytes())),
                "grpc-timeout" => timeout = timeout.or(Some(value.as_bytes())),
                "authorization" => authorization = authorization.or(Some(value)),
                // Whether the message is compressed, and whether the call has a span, is for the services to see.
                "grpc-encoding" | "traceparent" => plain = false,
                _ => {}
            }
        }
        let way = if parts.method != Method::POST {
            Way::NoCall(StatusCode::METHOD_NOT_ALLOWED)
        } else if !content.is_some_and(is_grpc) {
            Way::NoCall(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        } else if plain {
            way(parts.uri.path())
        } else {
            Way::Ordinary
        };
        Self { way, timeout, authorization }
    }
}

/// Whether a content's type is gRPC's with messages of protobuf.
fn is_grpc(content: &[u8]) -> bool {
    let Some(rest) = content.strip_prefix(b"application/grpc") else { return false };
    let rest = rest.strip_prefix(b"+proto").unwrap_or(rest);
    matches!(rest.first(), None | Some(b';' | b' '))
}

fn way(path: &str) -> Way {
    let Some(method) = path.strip_prefix("/headgate.v1.QuotaService/") else {
        return if path == SHOULD_RATE_LIMIT { Way::Unary(Unary::Limit) } else { Way::Ordinary };
    };
    let kind = match method {
        "CheckQuota" => Kind::Check,
        "Acquire" => Kind::Acquire,
        "Confirm" => Kind::Confirm,
        "Renew" => Kind::Renew,
        "Resize" => Kind::Resize,
        "Release" => Kind::Release,
        "Cancel" => Kind::Cancel,
        "AcquireStream" => return Way::Stream,
        _ => return Way::Ordinary,
    };
    Way::Unary(Unary::Operation(kind))
}

#[cfg(test)]
mod tests {
    use headgate_proto::envoy::rate_limit_service_server::SERVICE_NAME as RATE_LIMIT;
    use headgate_proto::v1::quota_service_server::SERVICE_NAME;
    use tonic::codegen::http::{Request, StatusCode};

    use super::{Head, Unary, Way};
    use crate::grpc::operations::Kind;

    fn way(method: &str, path: &str, headers: &[(&str, &str)]) -> Way {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Head::of(&request.body(()).expect("a request").into_parts().0).way
    }

    #[test]
    fn what_callers_do_all_day_goes_the_fast_way_where_it_is_plain() {
        let check = format!("/{SERVICE_NAME}/CheckQuota");
        let grpc = ("content-type", "application/grpc");
        assert_eq!(way("POST", &check, &[grpc]), Way::Unary(Unary::Operation(Kind::Check)));
        assert_eq!(
            way("POST", &check, &[grpc, ("grpc-timeout", "1S"), ("te", "trailers")]),
            Way::Unary(Unary::Operation(Kind::Check))
        );
        assert_eq!(way("POST", &format!("/{SERVICE_NAME}/AcquireStream"), &[grpc]), Way::Stream);
        let limit = format!("/{RATE_LIMIT}/ShouldRateLimit");
        assert_eq!(way("POST", &limit, &[grpc]), Way::Unary(Unary::Limit));
        assert_eq!(way("POST", &limit, &[grpc, ("grpc-encoding", "gzip")]), Way::Ordinary);
        for (path, more) in [
            (format!("/{SERVICE_NAME}/Get"), None),
            (format!("/{SERVICE_NAME}/checkquota"), None),
            ("/grpc.health.v1.Health/Check".to_owned(), None),
            ("/".to_owned(), None),
            (check.clone(), Some(("grpc-encoding", "gzip"))),
            (check.clone(), Some(("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))),
        ] {
            let headers: Vec<_> = [grpc].into_iter().chain(more).collect();
            assert_eq!(way("POST", &path, &headers), Way::Ordinary, "{path} {more:?}");
        }
        assert_eq!(way("GET", &check, &[grpc]), Way::NoCall(StatusCode::METHOD_NOT_ALLOWED));
    }

    #[test]
    fn what_is_not_grpc_is_told_so() {
        for (content, good) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc; charset=utf-8", true),
            ("application/grpc+json", false),
            ("application/grpc-web", false),
            ("application/json", false),
            ("", false),
        ] {
            let way = way("POST", &format!("/{SERVICE_NAME}/Acquire"), &[("content-type", content)]);
            let expected = if good {
                Way::Unary(Unary::Operation(Kind::Acquire))
            } else {
                Way::NoCall(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            };
            assert_eq!(way, expected, "{content}");
        }
    }
}
