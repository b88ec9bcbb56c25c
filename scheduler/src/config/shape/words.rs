//! The ledger's closed sets of words, as they are written.

use headgate_ledger as ledger;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One of the ledger's closed sets of words, as it is written.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($word:ident),+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "lowercase")]
        #[allow(missing_docs)] // the words are the ledger's, and told there
        pub enum $name { $($word),+ }

        impl From<$name> for ledger::$name {
            fn from(word: $name) -> Self {
                match word { $($name::$word => Self::$word),+ }
            }
        }

        impl From<ledger::$name> for $name {
            fn from(word: ledger::$name) -> Self {
                match word { $(ledger::$name::$word => Self::$word),+ }
            }
        }
    };
}

words! {
    /// Which tickets of one tenant may pass each other.
    Order { Backfill, Strict }
}
words! {
    /// What a share is made of.
    ShareOf { Borrowed, Usage }
}
words! {
    /// What becomes of a decision.
    Enforce { Deny, Warn, Observe }
}
words! {
    /// A tenant's state of life.
    Lifecycle { Active, Maintenance, Suspended, Archived }
}
words! {
    /// The calendar period of a budget.
    Period { Day, Week, Month }
}
words! {
    /// What becomes of a request that exceeds a budget.
    OnExceed { Deny, Queue }
}
