//! Patterns for names in certificates and for what gateways send: a `*` stands for any text, all else for itself.

/// A pattern in which a `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    /// What stands between the stars; at least one part.
    parts: Vec<String>,
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        Self { parts: pattern.split('*').map(str::to_owned).collect() }
    }

    /// Whether it stands for the whole of `text`. Each part is taken where it comes first, which finds a match wherever
    /// there is one, in linear time for each part.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let [first, rest @ ..] = &self.parts[..] else { return false };
        let [between @ .., last] = rest else { return text == first };
        let Some(mut text) = text.strip_prefix(first.as_str()) else { return false };
        for part in between {
            let Some(at) = text.find(part.as_str()) else { return false };
            text = &text[at + part.len()..];
        }
        text.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("spiffe://acme/ci", "spiffe://acme/ci", true),
            ("spiffe://acme/ci", "spiffe://acme/ci/x", false),
            ("spiffe://acme/ci/*", "spiffe://acme/ci/x/y", true),
            ("spiffe://acme/ci/*", "spiffe://acme/cix", false),
            ("spiffe://acme/*/ci", "spiffe://acme/a/ci", true),
            ("spiffe://acme/*/ci", "spiffe://acme/ci", false),
            ("a*bc*c", "abcc", true),
            ("a*bc*c", "abc", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*é*", "xéy", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }
}
