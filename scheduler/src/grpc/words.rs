//! The closed sets of words, from the ledger's to the wire's and back. None has an arm for the rest: a new word does not
//! compile until somebody has decided what it is on the wire.

use headgate_ledger as ledger;
use headgate_proto::v1;

/// The wire's word for a ledger's.
pub(super) trait Word {
    /// As it is on the wire.
    type Wire;

    fn wire(self) -> Self::Wire;
}

macro_rules! words {
    ($($name:ident => $wire:ident { $($word:ident => $value:ident),+ $(,)? })+) => {$(
        impl Word for ledger::$name {
            type Wire = v1::$wire;

            fn wire(self) -> v1::$wire {
                match self { $(Self::$word => v1::$wire::$value),+ }
            }
        }
    )+};
}

words! {
    Outcome => Decision { Allow => Allow, Queue => Queue, Deny => Deny }
    ReasonCode => Reason {
        NeverFits => NeverFits,
        ExceedsLimit => ExceedsLimit,
        NoCapacity => NoCapacity,
        BehindEarlier => BehindEarlier,
        HeldForAnother => HeldForAnother,
        BurstOver => BurstOver,
        WouldBorrow => WouldBorrow,
        BudgetUsedUp => BudgetUsedUp,
        RateExceeded => RateExceeded,
        Inactive => Inactive,
        Paused => Paused,
        QueueFull => QueueFull,
        WaitedTooLong => WaitedTooLong,
    }
    End => EndCause {
        Released => Released,
        Cancelled => Cancelled,
        Expired => Expired,
        Unconfirmed => Unconfirmed,
        Revoked => Revoked,
        WaitedTooLong => WaitedTooLong,
        Silent => Silent,
    }
    Source => Source { File => File, Api => Api, Kubernetes => Kubernetes }
    Order => Order { Backfill => Backfill, Strict => Strict }
    ShareOf => ShareOf { Borrowed => Borrowed, Usage => Usage }
    Enforce => Enforce { Deny => Deny, Warn => Warn, Observe => Observe }
    Lifecycle => Lifecycle {
        Active => Active,
        Maintenance => Maintenance,
        Suspended => Suspended,
        Archived => Archived,
    }
    Period => Period { Day => Day, Week => Week, Month => Month }
    OnExceed => OnExceed { Deny => Deny, Queue => Queue }
}

impl Word for ledger::State {
    type Wire = v1::State;

    fn wire(self) -> v1::State {
        match self {
            Self::Waiting => v1::State::Waiting,
            Self::Provisional => v1::State::Provisional,
            Self::Active => v1::State::Active,
            Self::Reclaiming => v1::State::Reclaiming,
            Self::Ended(_) => v1::State::Ended,
        }
    }
}

/// The ledger's word for a number of the wire's; none where the number is 0, which says nothing.
pub(super) trait FromWire: Sized {
    fn from_wire(number: i32) -> Result<Option<Self>, String>;
}

macro_rules! from_wire {
    ($($name:ident <= $wire:ident { $($value:ident => $word:ident),+ $(,)? })+) => {$(
        impl FromWire for ledger::$name {
            fn from_wire(number: i32) -> Result<Option<Self>, String> {
                match v1::$wire::try_from(number) {
                    Ok(v1::$wire::Unspecified) => Ok(None),
                    $(Ok(v1::$wire::$value) => Ok(Some(Self::$word)),)+
                    Err(_) => Err(format!("{number} is none of its words: {}", known(v1::$wire::ALL.iter().map(|word| word.word())))),
                }
            }
        }
    )+};
}

fn known<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

from_wire! {
    Source <= Source { File => File, Api => Api, Kubernetes => Kubernetes }
    Order <= Order { Backfill => Backfill, Strict => Strict }
    ShareOf <= ShareOf { Borrowed => Borrowed, Usage => Usage }
    Enforce <= Enforce { Deny => Deny, Warn => Warn, Observe => Observe }
    Lifecycle <= Lifecycle {
        Active => Active,
        Maintenance => Maintenance,
        Suspended => Suspended,
        Archived => Archived,
    }
    Period <= Period { Day => Day, Week => Week, Month => Month }
    OnExceed <= OnExceed { Deny => Deny, Queue => Queue }
}

#[cfg(test)]
mod tests {
    use headgate_ledger as ledger;

    use super::Word as _;

    #[test]
    fn words_are_the_same_everywhere() {
        for code in ledger::ReasonCode::ALL {
            assert_eq!(code.word(), code.wire().word());
        }
        for end in ledger::End::ALL {
            assert_eq!(end.word(), end.wire().word());
        }
        for outcome in [ledger::Outcome::Allow, ledger::Outcome::Queue, ledger::Outcome::Deny] {
            assert_eq!(outcome.word(), outcome.wire().word());
        }
    }
}
