//! Files that are read again when they change.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::auth::Callers;
use crate::config::Config;

/// What tells a file from what it was: secrets are often swapped by a link, and then all of these differ.
type Mark = Option<(u64, u64, Option<SystemTime>)>;

/// The files of certificates, tokens and keys, as they are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Watched(BTreeMap<PathBuf, Mark>);

impl Watched {
    pub(super) fn of(config: &Config, callers: &Callers) -> Self {
        let tls = config.tls.iter().flat_map(|tls| [Some(&tls.cert), Some(&tls.key), tls.client_ca.as_ref()]);
        let mark = |path: &PathBuf| {
            let known = std::fs::metadata(path).ok()?;
            Some((known.ino(), known.len(), known.modified().ok()))
        };
        let paths = tls.flatten().chain(callers.files());
        Self(paths.map(|path| (path.clone(), mark(path))).collect())
    }
}
