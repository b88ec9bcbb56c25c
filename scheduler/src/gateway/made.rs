//! Names of tenants, made of what gateways send: users, addresses, anything.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use headgate_ledger::{NAME_BYTES_MAX, Name};

/// Hexadecimal digits by which values are told apart that would look the same: enough that nobody finds two.
const DIGITS: usize = 32;

/// The name for a value. One that is a name stands for itself; of any other as much is kept as a name can have, for people,
/// with a digest of the whole behind it: so that two values never share a name, nor can one be made up for another's.
pub(super) fn name(value: &str) -> Name {
    let plain = |name: &Name| !has_digest(name.as_str());
    if let Some(name) = Name::parse(value).ok().filter(plain) {
        return name;
    }
    let mut text: String = value
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte.to_ascii_lowercase()) } else { '-' })
        .skip_while(|letter| *letter == '-')
        .take(NAME_BYTES_MAX - DIGITS - 1)
        .collect();
    if !text.is_empty() {
        text.push('-');
    }
    for byte in &digest(&SHA256, value.as_bytes()).as_ref()[..DIGITS / 2] {
        let _ = write!(text, "{byte:02x}");
    }
    Name::parse(&text).unwrap_or_else(|_| unreachable!("letters, digits and hyphens with a digit at the end"))
}

/// Whether a name ends as one that was made does: nobody gets another's by sending it.
fn has_digest(name: &str) -> bool {
    let start = name.len().saturating_sub(DIGITS);
    let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    name.len() >= DIGITS
        && name.as_bytes()[start..].iter().all(is_hex)
        && (start == 0 || name.as_bytes()[start - 1] == b'-')
}

#[cfg(test)]
mod tests {
    use super::{DIGITS, name};

    #[test]
    fn a_name_stands_for_itself() {
        for value in ["ann", "a", "team-7", "0", &"a".repeat(63)] {
            assert_eq!(name(value).as_str(), value);
        }
    }

    #[test]
    fn what_is_no_name_is_made_into_one_of_its_own() {
        let values = ["10.0.0.1", "10-0.0-1", "::1", "Ann", "ann ", "", "-", "ann@acme.example", "größe", "/api/v1"];
        let mut names: Vec<_> = values.iter().map(|value| name(value)).collect();
        assert!(names[0].as_str().starts_with("10-0-0-1-"), "{}", names[0]);
        assert!(names[7].as_str().starts_with("ann-acme-example-"), "{}", names[7]);
        let long = "x".repeat(10_000);
        assert_eq!(name(&long).as_str().len(), 63);
        assert_ne!(name(&long), name(&long[1..]));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), values.len(), "{names:?}");
    }

    #[test]
    fn nobody_gets_anothers_name_by_sending_it() {
        for value in ["10.0.0.1", ""] {
            let made = name(value);
            assert!(made.as_str().len() >= DIGITS);
            assert_ne!(name(made.as_str()), made);
        }
    }
}
