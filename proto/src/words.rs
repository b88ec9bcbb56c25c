//! The words for the wire's enumerations outside the wire: in JSON, on the command line, in metrics and logs.

use crate::v1::{
    Decision, DifferenceKind, EndCause, Enforce, EventKind, Lifecycle, OnExceed, Order, Period, Reason, ShareOf,
    Source, State,
};

/// Gives enumerations their words. A value without a word does not compile.
macro_rules! words {
    ($($name:ident { $($value:ident: $word:literal,)+ })+) => {$(
        impl $name {
            /// Every value but the unspecified one, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$value),+];

            /// The word for it, the same everywhere outside the wire.
            pub const fn word(self) -> &'static str {
                match self {
                    Self::Unspecified => "unspecified",
                    $(Self::$value => $word,)+
                }
            }

            /// What a word stands for; none where it is no word of these. Nobody says `unspecified`.
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$value),)+
                    _ => None,
                }
            }
        }
    )+};
}

words! {
    Decision {
        Allow: "allow",
        Queue: "queue",
        Deny: "deny",
    }
    State {
        Waiting: "waiting",
        Provisional: "provisional",
        Active: "active",
        Reclaiming: "reclaiming",
        Ended: "ended",
    }
    Reason {
        NeverFits: "never-fits",
        ExceedsLimit: "exceeds-limit",
        NoCapacity: "no-capacity",
        BehindEarlier: "behind-earlier",
        HeldForAnother: "held-for-another",
        BurstOver: "burst-over",
        WouldBorrow: "would-borrow",
        BudgetUsedUp: "budget-used-up",
        Inactive: "inactive",
        Paused: "paused",
        QueueFull: "queue-full",
        WaitedTooLong: "waited-too-long",
        RateExceeded: "rate-exceeded",
    }
    EndCause {
        Released: "released",
        Cancelled: "cancelled",
        Expired: "expired",
        Unconfirmed: "unconfirmed",
        Revoked: "revoked",
        WaitedTooLong: "waited-too-long",
        Silent: "silent",
    }
    EventKind {
        Queued: "queued",
        Admitted: "admitted",
        Confirmed: "confirmed",
        HandedOver: "handed-over",
        Resized: "resized",
        Reclaiming: "reclaiming",
        LetOff: "let-off",
        Ended: "ended",
        Revoked: "revoked",
        Expired: "expired",
    }
    DifferenceKind {
        Made: "made",
        Changed: "changed",
        Removed: "removed",
        Drained: "drained",
    }
    Source {
        File: "file",
        Api: "api",
        Kubernetes: "kubernetes",
    }
    Order {
        Backfill: "backfill",
        Strict: "strict",
    }
    ShareOf {
        Borrowed: "borrowed",
        Usage: "usage",
    }
    Enforce {
        Deny: "deny",
        Warn: "warn",
        Observe: "observe",
    }
    Lifecycle {
        Active: "active",
        Maintenance: "maintenance",
        Suspended: "suspended",
        Archived: "archived",
    }
    Period {
        Day: "day",
        Week: "week",
        Month: "month",
    }
    OnExceed {
        Deny: "deny",
        Queue: "queue",
    }
}
