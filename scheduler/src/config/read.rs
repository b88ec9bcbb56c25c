//! Reading YAML: bounded, strict, and with errors that say where and what would help.
//!
//! JSON is YAML too, so bodies of HTTP requests go through the same door.

use std::fmt;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_saphyr::Spanned;

/// Bytes of one file: ten times a configuration of ten thousand tenants.
pub const FILE_BYTES_MAX: usize = 16 << 20;
/// Mappings and lists within each other: eight levels of tenants, with their quotas, need 26.
pub const NESTING_MAX: usize = 64;
/// Keys, values and containers of one document; aliases count again each time.
pub const NODES_MAX: usize = 4_000_000;
/// Anchors, and as many references to them.
pub const ALIASES_MAX: usize = 10_000;
/// Nodes that aliases may unfold to.
pub const UNFOLDED_NODES_MAX: usize = 1_000_000;

/// Something wrong, or hardly meant, in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line and column, counted from 1; none where it is about the whole.
    pub place: Option<Place>,
    /// What it is, and what would help.
    pub what: String,
}

/// A line and a column, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// What is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file, as it was named.
    pub file: String,
    /// At least one, in the order of the file.
    pub problems: Vec<Problem>,
}

impl Problem {
    /// A problem of the whole file.
    pub fn whole(what: impl Into<String>) -> Self {
        Self { place: None, what: what.into() }
    }

    /// As `FILE:LINE:COLUMN: what`.
    pub fn in_file<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        struct InFile<'a>(&'a Problem, &'a str);
        impl fmt::Display for InFile<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self(problem, file) = self;
                match problem.place {
                    Some(Place { line, column }) => write!(f, "{file}:{line}:{column}: {}", problem.what),
                    None => write!(f, "{file}: {}", problem.what),
                }
            }
        }
        InFile(self, file)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            let newline = if n == 0 { "" } else { "\n" };
            write!(f, "{newline}{}", problem.in_file(&self.file))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Problems {
    /// One problem of a whole file.
    pub fn whole(file: &str, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), problems: vec![Problem::whole(what)] }
    }
}

/// Why a piece of text was refused, in a sentence that says what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError(pub(crate) String);

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TextError {}

/// Shows bad text in an error: not too long, and without control characters.
pub(crate) fn shown(text: &str) -> String {
    let clean: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() { format!("\"{clean}…\"") } else { format!("\"{clean}\"") }
}

/// The known word nearest to one that is not known, where one is near.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR: f64 = 0.75; // a slip of the finger in a short word, two in a longer one
    let word: String = word.chars().take(64).collect::<String>().to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&word, &known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// The text of a file, where it is not too large.
pub fn read_file(path: &Path) -> Result<String, Problems> {
    use std::io::Read;
    let name = path.display().to_string();
    let refuse = |error: std::io::Error| Problems::whole(&name, format!("the file cannot be read: {error}"));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(refuse)?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(refuse)?;
    if let Some(what) = binary(&bytes) {
        return Err(Problems::whole(&name, format!("the file is {what}: YAML in UTF-8 is expected")));
    }
    if bytes.len() > FILE_BYTES_MAX {
        return Err(Problems::whole(&name, too_large()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        let line = 1 + before.matches('\n').count() as u64;
        let column = 1 + before.chars().rev().take_while(|char| *char != '\n').count() as u64;
        let what = "what stands here is no UTF-8: save the file as UTF-8".to_owned();
        Problems { file: name.clone(), problems: vec![Problem { place: Some(Place { line, column }), what }] }
    })
}

/// What a file is that is no text at all; none where it may be.
fn binary(bytes: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 5] = [
        (b"\x7fELF", "a program"),
        (b"\x1f\x8b", "compressed with gzip"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\xff\xfe", "UTF-16 text"),
        (b"\xfe\xff", "UTF-16 text"),
    ];
    let named = known.into_iter().find(|(begins, _)| bytes.starts_with(begins)).map(|(_, what)| what);
    named.or_else(|| bytes.contains(&0).then_some("binary"))
}

fn too_large() -> String {
    format!("the file is larger than {} MiB, the most that is read", FILE_BYTES_MAX >> 20)
}

/// Reads one YAML (or JSON) document.
pub fn read_yaml<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Problems> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Problems::whole(file, too_large()));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 2, // so that a second one is refused in words of its own
            max_depth: NESTING_MAX,
            flow_nesting_limit: NESTING_MAX,
            max_nodes: NODES_MAX,
            max_events: 2 * NODES_MAX,
            max_aliases: ALIASES_MAX,
            max_anchors: ALIASES_MAX,
            max_merge_keys: ALIASES_MAX,
            max_recorded_anchor_events: UNFOLDED_NODES_MAX,
            max_recorded_anchor_bytes: FILE_BYTES_MAX,
            max_total_scalar_bytes: FILE_BYTES_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: UNFOLDED_NODES_MAX,
            max_replay_stack_depth: NESTING_MAX,
        },
        with_snippet: false,
        strict_booleans: true,
        reject_unsupported_tags: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
    };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| Problems { file: file.to_owned(), problems: vec![problem_of(&error)] })
}

/// Writes YAML, as [`read_yaml`] reads it.
pub fn write_yaml<T: Serialize>(value: &T) -> Result<String, TextError> {
    serde_saphyr::to_string(value).map_err(|error| TextError(format!("cannot be written as YAML: {error}")))
}

fn problem_of(error: &serde_saphyr::Error) -> Problem {
    let place = error
        .location()
        .filter(|location| location.line() > 0)
        .map(|location| Place { line: location.line(), column: location.column() });
    Problem { place, what: said_of(error) }
}

fn said_of(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    match error.without_snippet() {
        Error::Message { msg, .. } => msg.clone(),
        Error::AliasError { error, .. } => said_of(error),
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("unknown key {}: {}", shown(field), instead(field, expected))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("unknown word {}: {}", shown(variant), instead(variant, expected))
        }
        Error::SerdeMissingField { field, .. } => format!("key \"{field}\" is missing: it must be said here"),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("key {} is given twice", shown(key)),
        Error::SerdeInvalidType { unexpected, expected, .. } => format!("{expected} is expected, not {unexpected}"),
        Error::SerdeInvalidValue { unexpected, expected, .. } => format!("{expected} is expected, not {unexpected}"),
        Error::NullIntoString { .. } => "nothing is said here: give a value, or leave the key out".into(),
        Error::InvalidBooleanStrict { .. } => "true or false is expected".into(),
        Error::InvalidScalar { ty, .. } => match *ty {
            "u32" => "a whole number from 0 to 4294967295 is expected".into(),
            "i32" => "a whole number from -2147483648 to 2147483647 is expected".into(),
            "u64" => "a whole number is expected, not negative".into(),
            other => format!("{other} is expected"),
        },
        Error::Unexpected { expected: "mapping start", .. } => {
            "a mapping of keys is expected, such as {name: …}; {} is an empty one".into()
        }
        Error::Unexpected { expected: "sequence start", .. } => {
            "a list is expected, such as [a, b]; [] is an empty one".into()
        }
        Error::Unexpected { expected: "string scalar", .. } => {
            "a single value is expected, not a mapping or list".into()
        }
        Error::MultipleDocuments { .. } => "a second document starts here (---): one file holds one".into(),
        Error::Budget { breach, .. } => breached(breach),
        Error::AliasReplayLimitExceeded { .. } | Error::AliasReplayStackDepthExceeded { .. } => unfolds(),
        other => match plain(other) {
            said if said == "recursion limit exceeded" => nested(),
            said => said,
        },
    }
}

fn breached(breach: &serde_saphyr::budget::BudgetBreach) -> String {
    use serde_saphyr::budget::BudgetBreach;
    match breach {
        BudgetBreach::Depth { .. } => nested(),
        BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => {
            format!("the document has more than {NODES_MAX} keys and values, the most that are read")
        }
        BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. } | BudgetBreach::MergeKeys { .. } => {
            format!("the document has more than {ALIASES_MAX} anchors or references to them, the most that are read")
        }
        BudgetBreach::AliasAnchorRatio { .. } | BudgetBreach::RecordedAnchorEvents { .. } => unfolds(),
        other => format!("the document is larger than is read: {other:?}"),
    }
}

fn nested() -> String {
    format!("mappings and lists are nested more than {NESTING_MAX} deep, the deepest that is read")
}

fn unfolds() -> String {
    format!("aliases unfold to more than {UNFOLDED_NODES_MAX} values, or to one another too often")
}

/// The reader's own words, without the place that is said apart.
fn plain(error: &serde_saphyr::Error) -> String {
    let said = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    match said.rfind(" at line ") {
        Some(at) => said[..at].to_owned(),
        None => said,
    }
}

fn instead(word: &str, known: &[&'static str]) -> String {
    match (nearest(word, known.iter().copied()), known) {
        (Some(near), _) => format!("did you mean \"{near}\"?"),
        (None, []) => "none may stand here".into(),
        (None, [one]) => format!("only \"{one}\" may stand here"),
        (None, _) => format!("one of {} may stand here", known.join(", ")),
    }
}

/// A value, and where it was read.
#[derive(Clone, Copy, Debug, Default)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands; none where it was not read from YAML.
    pub place: Option<Place>,
}

impl<T> From<T> for At<T> {
    fn from(value: T) -> Self {
        Self { value, place: None }
    }
}

impl<T: PartialEq> PartialEq for At<T> {
    /// Values are compared, places are not.
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> At<T> {
    /// A problem of this value.
    pub fn problem(&self, what: impl Into<String>) -> Problem {
        Problem { place: self.place, what: what.into() }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<T>::deserialize(deserializer)?;
        let place = (referenced.line() > 0).then(|| Place { line: referenced.line(), column: referenced.column() });
        Ok(Self { value, place })
    }
}

impl<T: Serialize> Serialize for At<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A scalar as it was written: `0.5`, `1e3` and `16Gi` alike, and no number made of it on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(pub String);

impl Serialize for Text {
    /// Whole numbers as numbers, so that they need no quotes.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let plain = self.0.len() <= 18 && self.0.bytes().all(|byte| byte.is_ascii_digit()) && !self.0.is_empty();
        match self.0.parse::<u64>() {
            Ok(number) if plain && number.to_string() == self.0 => serializer.serialize_u64(number),
            _ => serializer.serialize_str(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // In YAML the visitor is handed the text of the scalar. Elsewhere (JSON) `Spanned` hands on the value as
        // it was understood, and numbers arrive as numbers.
        struct Scalar(String);
        impl<'de> Deserialize<'de> for Scalar {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(ScalarVisitor).map(Scalar)
            }
        }
        Ok(Self(Spanned::<Scalar>::deserialize(deserializer)?.value.0))
    }
}

struct ScalarVisitor;

impl de::Visitor<'_> for ScalarVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<String, E> {
        // Up to 15 digits the shortest text of a double is the decimal that it was read from.
        const EXACT: f64 = 1e15;
        if number.abs() < EXACT {
            return Ok(number.to_string());
        }
        Err(E::custom(format!("number {number} may have lost digits: write it as a text, in quotes")))
    }
}

/// A number with at most `places` decimals, times ten to the power of `places`.
pub(crate) fn decimal(text: &str, places: u32) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let places = usize::try_from(places).ok()?;
    if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > places || whole.len() > 20 {
        return None;
    }
    format!("{whole}{fraction:0<places$}").parse().ok()
}

/// A number of ten-to-the-power-of-`places` parts, as [`decimal`] reads it.
pub(crate) fn decimal_text(parts: u64, places: u32) -> String {
    let unit = 10_u64.pow(places);
    let width = usize::try_from(places).unwrap_or(0);
    let fraction = format!("{:0>width$}", parts % unit);
    match fraction.trim_end_matches('0') {
        "" => (parts / unit).to_string(),
        fraction => format!("{}.{fraction}", parts / unit),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::{At, FILE_BYTES_MAX, Text, decimal, decimal_text, nearest, read_yaml};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)] // some are only there to be near misses
    struct Sample {
        #[serde(default)]
        guaranteed: Option<u32>,
        #[serde(default)]
        names: Vec<At<String>>,
        #[serde(default)]
        amount: Option<Text>,
        #[serde(default)]
        strict: bool,
        #[serde(default)]
        inner: Option<Box<Sample>>,
    }

    #[test]
    fn errors_say_where_and_what_would_help() {
        for (text, expected) in [
            ("inner:\n  guarantied: 1\n", "f:2:3: unknown key \"guarantied\": did you mean \"guaranteed\"?"),
            ("zzz: 1", "f:1:1: unknown key \"zzz\": one of guaranteed, names, amount, strict, inner may stand here"),
            ("guaranteed: -1", "f:1:13: a whole number from 0 to 4294967295 is expected"),
            ("strict: yes", "f:1:9: true or false is expected"),
            ("strict: true\nstrict: false", "f:2:1: key \"strict\" is given twice"),
            ("inner: 3", "f:1:8: a mapping of keys is expected, such as {name: …}; {} is an empty one"),
            ("names: 3", "f:1:8: a list is expected, such as [a, b]; [] is an empty one"),
            ("names: [", "f:1:8: unclosed bracket '['"),
            ("strict: true\n---\nstrict: true", "f:3:1: a second document starts here (---): one file holds one"),
            ("names: [&a x, *b]", "f:1:15: reference to unknown value"),
            ("names:\n - \n", "f:2:4: nothing is said here: give a value, or leave the key out"),
        ] {
            let problems = read_yaml::<Sample>("f", text).expect_err(text);
            assert_eq!(problems.to_string(), expected, "{text:?}");
        }
    }

    #[test]
    fn places_and_scalar_texts_are_kept() {
        let sample: Sample = read_yaml("f", "names:\n  - a\n  - y\namount: 1.00000000000000001\n").expect("a sample");
        let [_, second] = &sample.names[..] else { panic!("two names") };
        assert_eq!(second.value, "y");
        assert_eq!(second.place.map(|place| (place.line, place.column)), Some((3, 5)));
        assert_eq!(sample.amount, Some(Text("1.00000000000000001".into())));
    }

    #[test]
    fn json_numbers_are_taken_as_they_are_where_they_are_exact() {
        for (json, expected) in [("0.5", "0.5"), ("64", "64"), ("-3", "-3"), ("\"16Gi\"", "16Gi"), ("0.1", "0.1")] {
            assert_eq!(serde_json::from_str::<Text>(json).expect(json), Text(expected.into()));
        }
        assert!(serde_json::from_str::<Text>("1e300").is_err());
        assert!(serde_json::from_str::<Text>("[1]").is_err());
        let body: Sample = read_yaml("body", r#"{"guaranteed": 3, "names": ["\u00e9\ud83d\ude00"]}"#).expect("JSON");
        assert_eq!((body.guaranteed, body.names[0].value.as_str()), (Some(3), "é😀"));
    }

    #[test]
    fn what_unfolds_or_nests_without_end_is_refused() {
        let mut bomb = String::from("inner:\n  names: [&a [x, x, x, x, x, x, x, x]]\n");
        for n in 0..40 {
            bomb.push_str(&format!("k{n}: &b{n} [*a, *a, *a]\n"));
        }
        assert!(read_yaml::<Sample>("f", &bomb).is_err());
        let laughs = "names: &a [x, x]\ninner: {names: &b [*a, *a], inner: {names: &c [*b, *b]}}";
        assert!(read_yaml::<Sample>("f", laughs).is_err());
        let deep = format!("{}strict: true{}", "{inner: ".repeat(5_000), "}".repeat(5_000));
        let error = read_yaml::<Sample>("f", &deep).expect_err("too deep").to_string();
        assert!(error.contains("nest"), "{error}");
        let mut deep = String::new();
        for level in 0..2_000 {
            deep.push_str(&format!("{}inner:\n", " ".repeat(level)));
        }
        assert!(read_yaml::<Sample>("f", &deep).is_err());
        let long = format!("names: [{}]", "x,".repeat(FILE_BYTES_MAX / 2));
        let error = read_yaml::<Sample>("f", &long).expect_err("too large").to_string();
        assert_eq!(error, "f: the file is larger than 16 MiB, the most that is read");
    }

    #[test]
    fn what_is_no_text_is_told_in_a_sentence() {
        let expected = |what: &str| format!("the file is {what}: YAML in UTF-8 is expected");
        for (bytes, told) in [
            (&b"\x7fELF\x02\x01"[..], expected("a program")),
            (b"\x1f\x8b\x08", expected("compressed with gzip")),
            (b"\xff\xfep\0", expected("UTF-16 text")),
            (b"pools: []\n\0", expected("binary")),
            (b"pools:\n  \xc3\xa9 \xff", "2:5: what stands here is no UTF-8: save the file as UTF-8".to_owned()),
        ] {
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), bytes).expect("written");
            let refused = super::read_file(file.path()).expect_err("refused").to_string();
            let name = file.path().display().to_string();
            let rest = refused.strip_prefix(&name).expect("it names the file");
            assert_eq!(rest.trim_start_matches([':', ' ']), told);
        }
    }

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["guaranteed", "limit", "lendable", "burst"];
        assert_eq!(nearest("guarantee", known), Some("guaranteed"));
        assert_eq!(nearest("Limits", known), Some("limit"));
        assert_eq!(nearest("lendible", known), Some("lendable"));
        assert_eq!(nearest("zzz", known), None);
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        for (text, places, expected) in [
            ("2", 3, Some(2000)),
            ("0.5", 3, Some(500)),
            ("0.5000", 3, Some(500)),
            ("0.0005", 3, None),
            ("1.", 3, None),
            (".5", 3, None),
            ("", 3, None),
            ("-1", 3, None),
            ("1e3", 3, None),
            ("+1", 3, None),
            ("99999999999999999999", 3, None),
        ] {
            assert_eq!(decimal(text, places), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn decimals_are_read_as_they_are_written(parts in 0..u64::MAX / 2, places in 0..9_u32) {
            prop_assert_eq!(decimal(&decimal_text(parts, places), places), Some(parts));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
            let _ = read_yaml::<Sample>("f", &text);
        }

        #[test]
        fn no_yaml_like_text_makes_the_reader_panic(text in "[a-z:{}\\[\\], \n*&!<>|\"'#%@0-9-]{0,120}") {
            let _ = read_yaml::<Sample>("f", &text);
        }
    }
}
