//! Bearer tokens that stand in a file.

use std::fmt;
use std::path::Path;

use subtle::ConstantTimeEq;

use super::AuthError;

/// Bytes of a token at least: shorter ones are guessed.
pub(super) const TOKEN_BYTES_MIN: usize = 16;
/// Bytes of a token at most: what a header holds.
pub(super) const TOKEN_BYTES_MAX: usize = 4096;
/// Tokens of one file: an old one and a new one while they change, and room.
pub(super) const TOKENS_MAX: usize = 16;

/// The tokens of one file, one a line.
pub(super) struct Tokens(Vec<Box<[u8]>>);

impl fmt::Debug for Tokens {
    /// Shows how many there are, and none of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

impl Tokens {
    pub(super) fn read(path: &Path) -> Result<Self, AuthError> {
        let refuse = |why: String| AuthError::File { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
        let tokens: Vec<Box<[u8]>> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| line.as_bytes().into()).collect();
        if tokens.is_empty() || tokens.len() > TOKENS_MAX {
            return Err(refuse(format!("has {} tokens: write 1 to {TOKENS_MAX}, one a line", tokens.len())));
        }
        if tokens.iter().any(|token| !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len())) {
            return Err(refuse(format!(
                "has a token that is not {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} bytes long: make one with openssl rand -hex 32"
            )));
        }
        Ok(Self(tokens))
    }

    /// Whether one of these is `token`, in a time that does not tell how much of it was right.
    pub(super) fn has(&self, token: &str) -> bool {
        self.0.iter().fold(false, |found, known| found | bool::from(known.ct_eq(token.as_bytes())))
    }
}
