//! The trace that a caller is in: W3C's `traceparent`.
//!
//! A call whose caller samples its trace has a span with the trace's id, and its decisions are logged. All others have no
//! span: looking at one header is all that they pay.

use tonic::codegen::http::request::Parts;
use tracing::Span;

/// `traceparent`, as far as it is used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TraceParent<'a> {
    trace: &'a str,
    parent: &'a str,
    sampled: bool,
}

/// The span of a call; none where nobody looks at it.
pub(super) fn span(request: &Parts) -> Span {
    let header = request.headers.get("traceparent").and_then(|value| value.to_str().ok());
    match header.and_then(parse) {
        Some(TraceParent { trace, parent, sampled: true }) => {
            tracing::info_span!("call", method = request.uri.path(), trace_id = trace, parent_id = parent)
        }
        Some(TraceParent { sampled: false, .. }) | None => Span::none(),
    }
}

/// Reads `00-TRACE-PARENT-FLAGS`; later versions may have more behind.
fn parse(text: &str) -> Option<TraceParent<'_>> {
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let nothing = |part: &str| part.bytes().all(|byte| byte == b'0');
    let whole = version != "00" || parts.next().is_none();
    let good = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2) && whole;
    if !good || nothing(trace) || nothing(parent) {
        return None;
    }
    let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    Some(TraceParent { trace, parent, sampled })
}

#[cfg(test)]
mod tests {
    use super::{TraceParent, parse};

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    #[test]
    fn a_trace_parent_is_read_as_w3c_writes_it() {
        for (flags, sampled) in [("01", true), ("00", false), ("03", true)] {
            let text = format!("00-{TRACE}-{PARENT}-{flags}");
            assert_eq!(parse(&text), Some(TraceParent { trace: TRACE, parent: PARENT, sampled }));
        }
        assert!(parse(&format!("01-{TRACE}-{PARENT}-01-more")).is_some(), "a later version");
        let zero = "0".repeat(32);
        for bad in [
            "",
            "00",
            &format!("00-{TRACE}-{PARENT}-01-more"),
            &format!("ff-{TRACE}-{PARENT}-01"),
            &format!("00-{zero}-{PARENT}-01"),
            &format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
            &format!("00-{TRACE}-{PARENT}-1"),
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
