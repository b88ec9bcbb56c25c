//! The ids of leases and tickets outside: their cell and their number in it, as `main-17`.

use headgate_ledger::{Id, Name};

/// The name of a cell.
pub(super) type Cell = Name;

/// The id of a lease or ticket, as callers know it.
pub(super) fn text(cell: &Cell, id: Id) -> String {
    format!("{cell}-{}", id.0)
}

/// The cell and the number that an id names; none where nothing could be called so.
pub(super) fn parse(text: &str) -> Option<(Cell, Id)> {
    let (cell, number) = text.rsplit_once('-')?;
    // Each has one name only.
    let plain = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
    let number = number.parse().ok().filter(|_| plain)?;
    Some((Name::parse(cell).ok()?, Id(number)))
}

#[cfg(test)]
mod tests {
    use headgate_ledger::{Id, Name};

    use super::{parse, text};

    #[test]
    fn an_id_names_its_cell_and_number_in_one_way_only() {
        let cell = Name::parse("west-2").expect("a name");
        assert_eq!(parse(&text(&cell, Id(17))), Some((cell, Id(17))));
        for bad in ["", "17", "main-", "main-017", "main-+7", "main-x", "-7", "main-99999999999999999999", "Main-1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
