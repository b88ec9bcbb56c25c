//! The reasons that `google.rpc.ErrorInfo` gives beside a status, for programs to branch on.

/// The domain of all of them.
pub const DOMAIN: &str = "headgate.dev";

/// The lease is no more: stop the work.
pub const LEASE_GONE: &str = "LEASE_GONE";
/// It is a ticket that waits, and has no lease to confirm or resize.
pub const STILL_WAITING: &str = "STILL_WAITING";
/// The tenant would be made on first use, and the one above it has as many members as it may have at once.
pub const MEMBERS_FULL: &str = "MEMBERS_FULL";
/// The object is no longer of the version that was given.
pub const VERSION_CHANGED: &str = "VERSION_CHANGED";
/// Another source has set the object.
pub const OTHER_SOURCE: &str = "OTHER_SOURCE";
/// The tenant or pool that is to be deleted has leases or tickets.
pub const NOT_EMPTY: &str = "NOT_EMPTY";
/// The class that is to be deleted is named by quotas.
pub const IN_USE: &str = "IN_USE";
