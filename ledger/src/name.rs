//! Names that cannot be wrong: a value's existence is the proof that it was checked.

use std::fmt;
use std::sync::Arc;

/// Levels of the tree of tenants; deeper nesting buys nothing and costs every decision.
pub const LEVELS_MAX: usize = 8;
/// Bytes of a DNS label.
pub const NAME_BYTES_MAX: usize = 63;
/// Bytes of a resource's name: a DNS name, a slash and a qualified name fit.
pub const RESOURCE_BYTES_MAX: usize = 128;
/// Bytes of a caller's id for a request.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// Bytes of a holder's name.
pub const HOLDER_BYTES_MAX: usize = 128;

/// Why a name was refused, in a sentence that says what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError(String);

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NameError {}

/// Characters that show nothing of themselves, and change how what is around them is shown: marks of direction, joiners,
/// separators of lines, tags, fillers (Unicode's `Cf`, `Zl` and `Zp`, and two letters that are blank), in order. In a log
/// or a terminal they make one text look like another.
const INVISIBLE: [(char, char); 22] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0001}', '\u{e0001}'),
    ('\u{e0020}', '\u{e007f}'),
];

/// Whether a character shows as itself wherever it is printed: no control character, and none that is invisible and
/// changes its surroundings.
pub fn is_shown(char: char) -> bool {
    if char.is_ascii() {
        return !char.is_ascii_control();
    }
    let before = INVISIBLE.partition_point(|(first, _)| *first <= char);
    !char.is_control() && (before == 0 || INVISIBLE[before - 1].1 < char)
}

/// Whether all of a text shows as itself. Most texts are of ASCII alone, and then their bytes tell.
fn are_shown(text: &str) -> bool {
    let plain = text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'));
    plain || text.chars().all(is_shown)
}

/// Shows at most this much of a bad name, without control characters.
fn shown(text: &str) -> String {
    let clean: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() { format!("\"{clean}…\"") } else { format!("\"{clean}\"") }
}

fn check_label(label: &str, whole: &str) -> Result<(), NameError> {
    let bytes = label.as_bytes();
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fine = !bytes.is_empty()
        && bytes.len() <= NAME_BYTES_MAX
        && bytes.iter().all(|b| plain(b) || *b == b'-')
        && bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain);
    if fine {
        return Ok(());
    }
    Err(NameError(format!(
        "name {} is not 1 to {NAME_BYTES_MAX} of a-z, 0-9 and -, with a letter or digit at both ends",
        shown(if label.is_empty() { whole } else { label })
    )))
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident) => {
        text_name! { $(#[$doc])* $name(Arc<str>) }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                // Whoever asks often has one name for one thing.
                Arc::ptr_eq(&self.0, &other.0) || *self.0 == *other.0
            }
        }

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
    ($(#[$doc:meta])* $name:ident($text:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Eq)]
        pub struct $name($text);

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.as_str().cmp(other.as_str())
            }
        }

        impl std::hash::Hash for $name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }
    };
}

text_name! {
    /// The name of a pool, a class, a cell or a budget: a DNS label.
    Name
}

impl Name {
    /// Checks and takes a DNS label.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_label(text, text)?;
        Ok(Self(text.into()))
    }

    /// Checks and takes a class's name, which may be in capitals too: `SMALL`.
    pub fn parse_class(text: &str) -> Result<Self, NameError> {
        check_label(&text.to_ascii_lowercase(), text)?;
        Ok(Self(text.into()))
    }
}

text_name! {
    /// A resource's name: any, without spaces and control characters.
    Resource
}

impl Resource {
    /// Checks and takes a resource's name: 1 to 128 bytes of letters, digits and `-._/:`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'/' | b':');
        if text.is_empty() || text.len() > RESOURCE_BYTES_MAX || !text.bytes().all(plain) {
            return Err(NameError(format!(
                "resource {} is not 1 to {RESOURCE_BYTES_MAX} letters, digits and any of - . _ / :",
                shown(text)
            )));
        }
        Ok(Self(text.into()))
    }
}

text_name! {
    /// A tenant's path in the tree, names joined by slashes. The empty path is the root: the pool itself.
    TenantPath
}

impl TenantPath {
    /// The root of every pool's tree.
    pub fn root() -> Self {
        Self("".into())
    }

    /// Checks and takes a tenant's path; the empty path is refused.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError("a tenant's path is empty: name one, such as acme/ml".into()));
        }
        let mut levels = 0;
        for label in text.split('/') {
            levels += 1;
            if levels > LEVELS_MAX {
                return Err(NameError(format!("path {} has more than {LEVELS_MAX} levels", shown(text))));
            }
            check_label(label, text)?;
        }
        Ok(Self(text.into()))
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path without its last name; none for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.rfind('/') {
            Some(at) => Self(self.0[..at].into()),
            None => Self::root(),
        })
    }

    /// The last name of the path.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }

    /// Whether `other` is this tenant or stands somewhere under it. Everything stands under the root.
    pub fn covers(&self, other: &str) -> bool {
        self.is_root() || other.strip_prefix(&*self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Names in the path: 0 for the root.
    pub fn depth(&self) -> usize {
        if self.is_root() { 0 } else { self.0.split('/').count() }
    }
}

macro_rules! free_text {
    ($name:ident, $what:literal, $max:expr) => {
        impl $name {
            /// Checks and takes it: shown as it is, within its limit of bytes.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                if text.is_empty() || text.len() > $max || !are_shown(text) {
                    return Err(NameError(format!(
                        concat!($what, " {} is not 1 to {} bytes without control and invisible characters"),
                        shown(text),
                        $max
                    )));
                }
                Ok(Self(text.into()))
            }

            /// Takes back what was kept: it was checked when it came, by rules that may have allowed more.
            pub fn kept(text: &str) -> Result<Self, NameError> {
                if text.is_empty() || text.len() > $max {
                    return Err(NameError(format!(concat!($what, " {} is not 1 to {} bytes"), shown(text), $max)));
                }
                Ok(Self(text.into()))
            }
        }
    };
}

text_name! {
    /// Who keeps leases and tickets alive: a job runner, the controller.
    Holder
}

free_text! { Holder, "holder", HOLDER_BYTES_MAX }

text_name! {
    /// The caller's id for a request, unique in its tenant.
    RequestId(OwnText)
}

free_text! { RequestId, "request id", REQUEST_ID_BYTES_MAX }

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            OwnText::Short(len, bytes) => match std::str::from_utf8(&bytes[..usize::from(*len)]) {
                Ok(text) => text,
                Err(_) => unreachable!("it was text when it came"),
            },
            OwnText::Long(text) => text,
        }
    }

    /// The id as bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            OwnText::Short(len, bytes) => &bytes[..usize::from(*len)],
            OwnText::Long(text) => text.as_bytes(),
        }
    }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

/// So much of a text lies in its place: a UUID does, in braces too.
const SHORT_BYTES_MAX: usize = 38;

/// A text that hardly ever comes again: there is nobody to share it with, and most are short.
#[derive(Clone, PartialEq, Eq)]
enum OwnText {
    Short(u8, [u8; SHORT_BYTES_MAX]),
    Long(Arc<str>),
}

impl From<&str> for OwnText {
    fn from(text: &str) -> Self {
        let mut bytes = [0; SHORT_BYTES_MAX];
        match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                Self::Short(text.len() as u8, bytes)
            }
            None => Self::Long(text.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LEVELS_MAX, Name, REQUEST_ID_BYTES_MAX, RequestId, Resource, TenantPath, is_shown};

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "0", "a-b", &"x".repeat(63)] {
            assert!(Name::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a/b", "a\n", "é", &"x".repeat(64)] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_path_has_names_and_a_limit_of_levels() {
        let path = TenantPath::parse("acme/ml/train").expect("a path");
        assert_eq!(path.parent().expect("a parent").as_str(), "acme/ml");
        assert_eq!((path.name(), path.depth()), ("train", 3));
        assert!(TenantPath::parse("acme").expect("a path").covers("acme/ml"));
        assert!(!TenantPath::parse("acme").expect("a path").covers("acme-two"));
        assert!(TenantPath::root().covers("anything"));
        for bad in ["", "/a", "a/", "a//b", "a/B", &["a"; LEVELS_MAX + 1].join("/")] {
            assert!(TenantPath::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_does_not_show_as_itself_is_no_part_of_an_id() {
        for good in ["run-1", "läuft", "実行", "e\u{301}", "🚀", "a b"] {
            assert!(RequestId::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["a\u{202e}b", "a\u{200b}", "\u{feff}a", "a\u{2066}", "a\n", "a\u{1b}[31m", "a\u{2028}b", "a\u{e0041}"]
        {
            let error = RequestId::parse(bad).expect_err("refused").to_string();
            assert!(error.contains("\\u{") || error.contains("\\n"), "{error}");
            assert!(error.chars().all(is_shown), "{error:?}");
            let kept = RequestId::kept(bad).expect("what was kept is taken back");
            assert_eq!(kept.as_str(), bad);
        }
        assert!(RequestId::kept("").is_err() && RequestId::kept(&"x".repeat(129)).is_err());
    }

    #[test]
    fn an_id_is_its_text_however_long_it_is() {
        for len in 1..=REQUEST_ID_BYTES_MAX {
            let text: String = "läuft-"
                .chars()
                .cycle()
                .take_while({
                    let mut bytes = 0;
                    move |char| {
                        bytes += char.len_utf8();
                        bytes <= len
                    }
                })
                .collect();
            let (id, other) = (RequestId::parse(&text).expect("an id"), RequestId::kept(&text).expect("an id"));
            assert_eq!((id.as_str(), id.to_string()), (&*text, text.clone()));
            assert!(id == other && id.clone() == id);
            if len < REQUEST_ID_BYTES_MAX {
                let longer = RequestId::parse(&format!("{text}x")).expect("an id");
                assert!(id != longer && id < longer);
            }
        }
        assert_eq!(size_of::<RequestId>(), 40);
    }

    #[test]
    fn a_refusal_shows_the_name_without_its_control_characters() {
        let error = Resource::parse("cpu\u{1b}[31m").expect_err("refused").to_string();
        assert!(error.contains(r"\u{1b}") && !error.contains('\u{1b}'), "{error}");
        assert!(RequestId::parse(&"x".repeat(129)).is_err());
    }
}
