//! Ids of leases and tickets, as callers know them.

use std::fmt;

use headgate_ledger::{Id, Name};

/// A lease's or a ticket's id: its cell's name and its number there, as `main-17`. A ticket's lease has the ticket's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId {
    /// The cell that decides on it.
    pub cell: Name,
    /// Its number there.
    pub number: Id,
}

/// Why something is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an id that was given out here: a cell's name, a hyphen and a number, as main-17")]
pub struct LeaseIdError(String);

impl LeaseId {
    /// Takes an id as it was given out. Another way to write the same number is refused, so that an id has one form.
    pub fn parse(text: &str) -> Result<Self, LeaseIdError> {
        Self::parse_near(text, None)
    }

    /// The same; where its cell is the one that is `known`, its name need not be checked and kept in memory once more.
    pub fn parse_near(text: &str, known: Option<&Name>) -> Result<Self, LeaseIdError> {
        let refused = || LeaseIdError(text.chars().take(80).collect());
        let (cell, digits) = text.rsplit_once('-').ok_or_else(refused)?;
        let plain = digits.bytes().all(|digit| digit.is_ascii_digit()) && !digits.starts_with('0');
        let number = digits.parse().ok().filter(|_| plain).ok_or_else(refused)?;
        let cell = match known {
            Some(known) if known.as_str() == cell => known.clone(),
            Some(_) | None => Name::parse(cell).map_err(|_| refused())?,
        };
        Ok(Self { cell, number: Id(number) })
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.cell, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::LeaseId;

    #[test]
    fn an_id_has_one_form() {
        for good in ["main-1", "eu-west-1-18446744073709551615"] {
            let id = LeaseId::parse(good);
            assert_eq!(id.as_ref().map(ToString::to_string), Ok(good.to_owned()));
            for known in ["main", "eu-west-1"] {
                let known = headgate_ledger::Name::parse(known).expect("a name");
                assert_eq!(LeaseId::parse_near(good, Some(&known)), id);
            }
        }
        for bad in [
            "",
            "main",
            "main-",
            "-1",
            "main-01",
            "main-0",
            "main-+1",
            "main-1 ",
            "Main-1",
            "main-99999999999999999999",
        ] {
            assert!(LeaseId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
