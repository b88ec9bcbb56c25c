//! The codes of gRPC, by their names.

/// The names, in the order of their numbers.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// There is no such thing, or it may not be seen.
pub(crate) const NOT_FOUND: i32 = 5;
/// Of a lease: it is gone.
pub(crate) const FAILED_PRECONDITION: i32 = 9;
/// There is no such call.
pub(crate) const UNIMPLEMENTED: i32 = 12;

/// The name of a code.
pub(crate) fn name(code: i32) -> &'static str {
    usize::try_from(code).ok().and_then(|code| NAMES.get(code)).copied().unwrap_or("UNKNOWN")
}
