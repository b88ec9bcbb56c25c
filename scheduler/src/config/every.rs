//! Every error of form of a file, and not the first alone.
//!
//! What reads a file into its shape stops at the first error. So the file is read as a plain tree too; what was wrong is
//! taken out of that, what is left is written down and read again, until nothing is wrong any more. What is told is so
//! always what the reader itself says, of the place where it stands in the file.

use std::fmt;

use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer};

use super::read::{At, Place, Problem, Problems, read_yaml};

/// Errors that are told of one file: who mends these reads it again.
const TOLD_MAX: usize = 20;
/// Bytes of a file up to which more than its first error is looked for: each costs one more reading.
const TEXT_BYTES_MAX: usize = 4 << 20;
/// What is taken out of one file: a bound on the readings, for those of which nothing is told.
const TAKEN_OUT_MAX: usize = 2 * TOLD_MAX;

/// Reads one YAML (or JSON) document as [`read_yaml`] does, and tells of as many errors as can be told of at once.
pub(super) fn read_yaml_to_the_end<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Problems> {
    read_yaml(file, text).map_err(|Problems { file, problems }| {
        let all = if text.len() > TEXT_BYTES_MAX { None } else { all_of::<T>(text) };
        // The first is told as it was found: where that is not found again, the tree is not what was read.
        let all = all.filter(|all| all.first() == problems.first());
        let mut problems = all.unwrap_or(problems);
        if problems.len() > TOLD_MAX {
            problems.truncate(TOLD_MAX);
            problems.push(Problem::whole(format!("these are {TOLD_MAX} of its errors, and there are more")));
        }
        Problems { file, problems }
    })
}

/// All errors of form as they are found, and one more than are told; none where it is no tree at all.
fn all_of<T: DeserializeOwned>(text: &str) -> Option<Vec<Problem>> {
    let mut tree: Node = read_yaml("", text).ok()?;
    Cursor::at_the_beginning(text).quote(&mut tree);
    let mut found = Vec::new();
    for _ in 0..TAKEN_OUT_MAX {
        let written = Written::of(&tree);
        let Err(Problems { problems, .. }) = read_yaml::<T>("", &written.text) else { break };
        let Some(Problem { place: Some(at), what }) = problems.into_iter().next() else { break };
        let Some(token) = written.token_at(at.column) else { break };
        let known = &written.nodes[token.node];
        // What lacks a key is the mapping: it is told of at the last of those that it has.
        let lacks_key = what.ends_with(MISSING);
        let wrong = if token.is_key && lacks_key { known.parent } else { Some(token.node) };
        let Some(wrong) = wrong else { break };
        // What was taken out of a mapping is missed there, which is no error of the file.
        let follows = (lacks_key || !token.is_key) && written.nodes[wrong].cut;
        if !follows {
            found.push(Problem { place: token.place, what });
        }
        if found.len() > TOLD_MAX || !take_out(&mut tree, &mut 0, wrong) {
            break;
        }
    }
    Some(found)
}

/// How it is said that a key is missing.
const MISSING: &str = "is missing: it must be said here";

/// A value as it stands in the file.
type Node = At<Raw>;

/// A value of no certain shape.
#[derive(Debug)]
enum Raw {
    Mapping {
        entries: Vec<(At<String>, Node)>,
        /// Something was taken out of it.
        cut: bool,
    },
    List(Vec<Node>),
    /// As it is written: with quotes, once it is known where they are needed.
    Scalar(String),
}

impl Default for Raw {
    fn default() -> Self {
        Self::Scalar("null".to_owned())
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> de::Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Mapping { entries, cut: false })
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::default())
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }
}

/// A tree on one line, and what of it begins at which column.
#[derive(Default)]
struct Written {
    text: String,
    column: u64,
    tokens: Vec<Token>,
    /// Every node of the tree, each before those below it.
    nodes: Vec<Known>,
}

/// The beginning of a node, or of the key that it stands under.
#[derive(Clone, Copy)]
struct Token {
    column: u64,
    /// Where it stands in the file.
    place: Option<Place>,
    node: usize,
    is_key: bool,
}

/// What is known of a node.
struct Known {
    parent: Option<usize>,
    /// Something was taken out of it.
    cut: bool,
}

impl Written {
    fn of(tree: &Node) -> Self {
        let mut written = Self { column: 1, ..Self::default() };
        written.node(tree, None);
        written
    }

    /// What a column of the line belongs to.
    fn token_at(&self, column: u64) -> Option<Token> {
        let after = self.tokens.partition_point(|token| token.column <= column);
        self.tokens[..after].last().copied()
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.column += text.chars().count() as u64;
    }

    fn begin(&mut self, place: Option<Place>, node: usize, is_key: bool) {
        self.tokens.push(Token { column: self.column, place, node, is_key });
    }

    fn node(&mut self, node: &Node, parent: Option<usize>) {
        let number = self.nodes.len();
        let cut = matches!(node.value, Raw::Mapping { cut: true, .. });
        self.nodes.push(Known { parent, cut });
        self.begin(node.place, number, false);
        match &node.value {
            Raw::Mapping { entries, .. } => {
                self.push("{");
                for (nth, (key, value)) in entries.iter().enumerate() {
                    self.push(if nth == 0 { "" } else { ", " });
                    self.begin(key.place, self.nodes.len(), true);
                    self.push(&quoted(&key.value));
                    self.push(": ");
                    self.node(value, Some(number));
                }
                self.push("}");
            }
            Raw::List(items) => {
                self.push("[");
                for (nth, item) in items.iter().enumerate() {
                    self.push(if nth == 0 { "" } else { ", " });
                    self.node(item, Some(number));
                }
                self.push("]");
            }
            Raw::Scalar(text) => self.push(text),
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a scalar may stand on the line as it is, where it stands so in the file.
fn is_plain(text: &str) -> bool {
    let safe = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '/' | '+' | '-' | '%');
    let first = text.chars().next();
    first.is_some_and(|first| first.is_ascii_alphanumeric() || (first == '-' && text.len() > 1))
        && text.chars().all(safe)
}

/// A place in the file that only moves on, as those of a tree do.
struct Cursor<'a> {
    rest: std::str::Chars<'a>,
    at: Place,
}

impl<'a> Cursor<'a> {
    fn at_the_beginning(text: &'a str) -> Self {
        Self { rest: text.chars(), at: Place { line: 1, column: 1 } }
    }

    /// What stands at a place; none where it has been passed: then it was referred to from further on.
    fn char_at(&mut self, place: Place) -> Option<char> {
        while self.at < place {
            self.at = match self.rest.next()? {
                '\n' => Place { line: self.at.line + 1, column: 1 },
                _ => Place { column: self.at.column + 1, ..self.at },
            };
        }
        if self.at == place { self.rest.clone().next() } else { None }
    }

    /// Puts into quotes what has them in the file, and what could not stand on the line without.
    fn quote(&mut self, node: &mut Node) {
        let place = node.place;
        match &mut node.value {
            Raw::Mapping { entries, .. } => entries.iter_mut().for_each(|(_, value)| self.quote(value)),
            Raw::List(items) => items.iter_mut().for_each(|item| self.quote(item)),
            Raw::Scalar(text) => {
                let begins = place.and_then(|place| self.char_at(place));
                if !is_plain(text) || matches!(begins, Some('"' | '\'' | '|' | '>')) {
                    *text = quoted(text);
                }
            }
        }
    }
}

/// Takes a node out of what it stands in, by its number; `next` is that of `node`. Says whether it was there: all of a tree
/// does not go.
fn take_out(node: &mut Node, next: &mut usize, number: usize) -> bool {
    match &mut node.value {
        Raw::Mapping { entries, cut } => {
            for nth in 0..entries.len() {
                *next += 1;
                if *next == number {
                    entries.remove(nth);
                    *cut = true;
                    return true;
                }
                if take_out(&mut entries[nth].1, next, number) {
                    return true;
                }
            }
        }
        Raw::List(items) => {
            for nth in 0..items.len() {
                *next += 1;
                if *next == number {
                    items.remove(nth);
                    return true;
                }
                if take_out(&mut items[nth], next, number) {
                    return true;
                }
            }
        }
        Raw::Scalar(_) => {}
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{TOLD_MAX, read_yaml_to_the_end};
    use crate::config::ConfigShape;

    fn told(text: &str) -> String {
        match read_yaml_to_the_end::<ConfigShape>("f", text) {
            Ok(_) => String::new(),
            Err(problems) => problems.to_string(),
        }
    }

    #[test]
    fn all_errors_of_form_are_told_at_once_each_with_its_place() {
        let text = "\
listn: {grpc: 127.0.0.1:7070}
pools:
  - name: default
    capacity: {cpu: lots, memory: 16Gi}
    max_queued: -1
    grase: 30s
    reclaim: yes
    hold_for: soon
  - {capacity: {cpu: 1}}
tenants:
  - name: Acme
    quota: {default: {guaranted: {cpu: 1}, limit: {cpu: \"2\"}}}
  - 3
  - {name: fine, weight: heavy}
";
        assert_eq!(
            told(text),
            "\
f:1:1: unknown key \"listn\": did you mean \"listen\"?
f:4:21: amount \"lots\" of cpu is no quantity: write one such as 500m, 4 or 16Gi
f:5:17: a whole number from 0 to 4294967295 is expected
f:6:5: unknown key \"grase\": did you mean \"grace\"?
f:7:14: true or false is expected
f:8:15: duration \"soon\" is none: write whole numbers with units, such as 30s, 1h30m or 500ms
f:9:6: key \"name\" is missing: it must be said here
f:11:11: name \"Acme\" is not 1 to 63 of a-z, 0-9 and -, with a letter or digit at both ends
f:12:23: unknown key \"guaranted\": did you mean \"guaranteed\"?
f:13:5: a mapping of keys is expected, such as {name: …}; {} is an empty one
f:14:26: weight \"heavy\" is no number from 0 to 1000000 with up to 3 decimals, such as 1 or 0.5"
        );
    }

    #[test]
    fn one_error_is_told_as_ever_and_none_that_follows_from_it() {
        for text in
            ["pool: 1", "pools: [{nmae: default}]", "pools: [{name: [x]}]", "pools: 3", "pools: [{}]", "[1, 2]", "x"]
        {
            let one = super::read_yaml::<ConfigShape>("f", text).expect_err(text).to_string();
            assert_eq!(told(text), one, "{text}");
        }
        for broken in ["pools: [", "pools: []\npools: []", "a: *b", "a: b: c"] {
            assert_eq!(told(broken).lines().count(), 1, "{broken}");
        }
    }

    #[test]
    fn so_many_are_told_and_no_more() {
        let text: String = (0..100).map(|n| format!("key{n}: 1\n")).collect();
        let told = told(&text);
        assert_eq!(told.lines().count(), TOLD_MAX + 1);
        assert!(told.ends_with("and there are more"), "{told}");
    }
}
