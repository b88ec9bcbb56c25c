//! The Huffman code of HPACK (RFC 7541, appendix B). It is canonical, so the lengths of its codes say all of it.

use std::sync::LazyLock;

/// The bits of each byte's code, and of the end's.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];
const BITS_MAX: usize = 30;

/// For each length: the first code of it, and where its symbols begin among all, which are sorted by code.
struct Table {
    first: [u32; BITS_MAX + 2],
    start: [usize; BITS_MAX + 2],
    symbols: Vec<u16>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut symbols: Vec<u16> = (0..=256).collect();
    symbols.sort_by_key(|symbol| (LENGTHS[usize::from(*symbol)], *symbol));
    let (mut first, mut start) = ([0; BITS_MAX + 2], [0; BITS_MAX + 2]);
    let (mut code, mut at) = (0, 0);
    for bits in 1..=BITS_MAX {
        (first[bits], start[bits]) = (code, at);
        let count = LENGTHS.iter().filter(|length| usize::from(**length) == bits).count();
        at += count;
        code = (code + count as u32) << 1;
    }
    (first[BITS_MAX + 1], start[BITS_MAX + 1]) = (code, at);
    Table { first, start, symbols }
});

/// Takes a coded string apart; none where it is no such code.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let table = &*TABLE;
    let mut text = Vec::with_capacity(coded.len() * 2);
    let (mut code, mut bits) = (0_u32, 0_usize);
    for byte in coded {
        for shift in (0..8).rev() {
            code = code << 1 | u32::from(byte >> shift & 1);
            bits += 1;
            if bits > BITS_MAX {
                return None;
            }
            let count = table.start[bits + 1] - table.start[bits];
            let Some(place) = code.checked_sub(table.first[bits]).map(|place| place as usize) else { continue };
            if place < count {
                // The end's own code never stands in a string.
                text.push(u8::try_from(table.symbols[table.start[bits] + place]).ok()?);
                (code, bits) = (0, 0);
            }
        }
    }
    // What is left is padding: fewer than eight bits, all of them ones.
    (bits < 8 && code == (1 << bits) - 1).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decode(&coded).as_deref(), Some(&b"www.example.com"[..]));
        assert_eq!(decode(&[0x64, 0x02]).as_deref(), Some(&b"302"[..]));
        assert_eq!(decode(&[]).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn what_is_no_code_is_refused() {
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), None, "the end's code");
        assert_eq!(decode(&[0x04]), None, "padding that is not ones");
    }
}
