//! The shapes of pools, classes and tenants, as they stand in files, in HTTP bodies and in what `get` prints, and
//! their conversion to and from the ledger's words.

mod amounts;
mod budget;
mod pool;
mod quota;
mod scalar;
mod tenant;
mod words;

pub use amounts::{AmountMap, LevelMap};
pub use budget::{BudgetShape, MembersShape};
pub use pool::PoolShape;
pub use quota::{BurstShape, ClassShape, QuotaShape};
pub use scalar::{
    ClassName, KIND_CHARS_MAX, Kind, Label, Part, Path, Priority, QueueRoom, ResourceName, Span, WEIGHT_MAX, Weight,
    Zone,
};
pub(super) use tenant::flatten_all;
pub use tenant::{TenantChange, TenantShape};
pub use words::{Enforce, Lifecycle, OnExceed, Order, Period, ShareOf};
