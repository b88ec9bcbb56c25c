//! The limits of the wire, as the protos state them. What a single request may say is limited by the ledger.

/// Operations in one message of a stream: what one commit of the store takes.
pub const OPERATIONS_MAX: usize = 1024;
/// Bytes of one message of a stream: 1 KiB for each operation, far below what gRPC's libraries take.
pub const OPERATIONS_BYTES_MAX: usize = 1 << 20;
/// Ids that one call names, for the same reason.
pub const IDS_MAX: usize = 1024;
/// Items of a page where the caller does not say.
pub const PAGE_SIZE_DEFAULT: u32 = 100;
/// Items of a page at most, so that a page is far below what gRPC's libraries take.
pub const PAGE_SIZE_MAX: u32 = 1000;
