//! The record of counts, and what has become of them since.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// More than that is no record.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What was counted, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counts {
    /// The compiler, as it calls itself.
    pub(crate) toolchain: String,
    /// The processor's.
    pub(crate) architecture: String,
    /// Of each thing, once.
    pub(crate) instructions: BTreeMap<String, u64>,
}

impl Counts {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let there = || format!("cannot read {}; `just counts record` writes it", path.display());
        let bytes = std::fs::metadata(path).with_context(there)?.len();
        ensure!(bytes <= FILE_BYTES_MAX, "{} has {bytes} bytes, at most {FILE_BYTES_MAX} may be", path.display());
        let text = std::fs::read_to_string(path).with_context(there)?;
        let counts: Self = serde_saphyr::from_str(&text).with_context(there)?;
        let here = std::env::consts::ARCH;
        ensure!(
            counts.architecture == here,
            "{} holds counts of {}, and this is {here}: they cannot be compared",
            path.display(),
            counts.architecture
        );
        Ok(counts)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { toolchain, architecture, instructions } = self;
        writeln!(f, "# Instructions of each thing, once: benches/src/counted.rs says what it is.")?;
        writeln!(f, "# Written by `just counts record`, compared by `just counts check`. All are of {architecture}.")?;
        writeln!(f, "toolchain: \"{toolchain}\"\narchitecture: {architecture}\ninstructions:")?;
        instructions.iter().try_for_each(|(name, count)| writeln!(f, "  {name}: {count}"))
    }
}

/// The compiler that the toolchain file names: the one that made this.
pub(crate) fn toolchain() -> anyhow::Result<String> {
    let ran = Command::new("rustc").arg("--version").current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let ran = ran.context("cannot run `rustc --version`")?;
    ensure!(ran.status.success(), "`rustc --version` ended with {}", ran.status);
    Ok(String::from_utf8_lossy(&ran.stdout).trim().to_owned())
}

/// What has become of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    /// About as it was.
    Same,
    /// Less by more than a tenth.
    Less,
    /// More by more than a tenth.
    More,
    /// It was not counted before.
    New,
    /// It is not counted any more.
    Gone,
}

impl Became {
    fn of(recorded: Option<u64>, counted: Option<u64>) -> Self {
        match (recorded, counted) {
            (Some(before), Some(now)) if u128::from(now) * 10 > u128::from(before) * 11 => Self::More,
            (Some(before), Some(now)) if u128::from(now) * 11 < u128::from(before) * 10 => Self::Less,
            (Some(_), Some(_)) => Self::Same,
            (None, _) => Self::New,
            (Some(_), None) => Self::Gone,
        }
    }

    const fn is_fine(self) -> bool {
        matches!(self, Self::Same | Self::Less)
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Same => "",
            Self::Less => "  less by more than a tenth: record it, so that it stays",
            Self::More => "  MORE by more than a tenth",
            Self::New => "  NOT RECORDED",
            Self::Gone => "  RECORDED, and not counted any more",
        }
    }
}

/// What was recorded beside what was counted.
pub(crate) struct Compared {
    /// The compiler then and now, where they differ.
    toolchains: Option<(String, String)>,
    lines: Vec<(String, Option<u64>, Option<u64>, Became)>,
}

impl Compared {
    pub(crate) fn new(recorded: &Counts, counted: &Counts) -> Self {
        let names: BTreeSet<_> = recorded.instructions.keys().chain(counted.instructions.keys()).collect();
        let line = |name: &String| {
            let (before, now) = (recorded.instructions.get(name).copied(), counted.instructions.get(name).copied());
            (name.clone(), before, now, Became::of(before, now))
        };
        let differ = recorded.toolchain != counted.toolchain;
        Self {
            toolchains: differ.then(|| (recorded.toolchain.clone(), counted.toolchain.clone())),
            lines: names.into_iter().map(line).collect(),
        }
    }

    pub(crate) fn is_fine(&self) -> bool {
        self.lines.iter().all(|(_, _, _, became)| became.is_fine())
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
        writeln!(f, "{:<28} {:>9} {:>9}", "instructions of", "recorded", "counted")?;
        for (name, before, now, became) in &self.lines {
            writeln!(f, "{name:<28} {:>9} {:>9}{}", shown(*before), shown(*now), became.words())?;
        }
        if let Some((before, now)) = &self.toolchains {
            writeln!(f, "recorded with {before}, counted with {now}")?;
        }
        if !self.is_fine() {
            writeln!(
                f,
                "find out why; where it is meant, record it with `just counts record`, and say why in the commit"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Became, Compared, Counts};

    fn counts(instructions: &[(&str, u64)]) -> Counts {
        Counts {
            toolchain: "rustc 1.0.0".into(),
            architecture: std::env::consts::ARCH.into(),
            instructions: instructions.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        }
    }

    #[test]
    fn a_tenth_more_is_as_it_was_and_one_beyond_is_not() {
        assert_eq!(Became::of(Some(1000), Some(1100)), Became::Same);
        assert_eq!(Became::of(Some(1000), Some(1101)), Became::More);
        assert_eq!(Became::of(Some(1100), Some(1000)), Became::Same);
        assert_eq!(Became::of(Some(1101), Some(1000)), Became::Less);
        assert_eq!(Became::of(Some(u64::MAX), Some(u64::MAX)), Became::Same);
    }

    #[test]
    fn what_grew_fails_and_is_named() {
        let compared =
            Compared::new(&counts(&[("admit", 1000), ("check", 500)]), &counts(&[("admit", 2000), ("check", 500)]));
        assert!(!compared.is_fine());
        let said = compared.to_string();
        assert!(said.lines().any(|line| line.starts_with("admit ") && line.contains("MORE")), "{said}");
        assert!(said.contains("just counts record"), "{said}");
    }

    #[test]
    fn what_shrank_is_told_and_does_not_fail() {
        let compared = Compared::new(&counts(&[("admit", 2000)]), &counts(&[("admit", 1000)]));
        assert!(compared.is_fine());
        assert!(compared.to_string().contains("record it"), "{compared}");
    }

    #[test]
    fn what_is_new_or_gone_fails() {
        let compared = Compared::new(&counts(&[("admit", 1000)]), &counts(&[("check", 500)]));
        assert!(!compared.is_fine());
        let said = compared.to_string();
        assert!(said.contains("NOT RECORDED") && said.contains("not counted any more"), "{said}");
    }

    #[test]
    fn the_record_reads_back_as_it_was_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("counts.yaml");
        let written = counts(&[("admit", 1000), ("check", 500)]);
        std::fs::write(&path, written.to_string()).expect("written");
        assert_eq!(Counts::read(&path).expect("read"), written);
    }

    #[test]
    fn a_record_of_another_machine_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("counts.yaml");
        let written = Counts { architecture: "pdp11".into(), ..counts(&[("admit", 1000)]) };
        std::fs::write(&path, written.to_string()).expect("written");
        let error = Counts::read(&path).expect_err("refused").to_string();
        assert!(error.contains("holds counts of pdp11"), "{error}");
    }
}
