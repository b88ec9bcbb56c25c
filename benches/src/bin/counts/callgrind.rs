//! Runs this program under callgrind, and takes the difference of two runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, bail, ensure};
use headgate_benches::counted::Thing;

/// So many times first: what is remembered from one time to the next is not there at the first.
const BEFORE: usize = 100;

/// Says what is missing, where valgrind is.
pub(crate) fn look() -> anyhow::Result<()> {
    match Command::new("valgrind").arg("--version").stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("valgrind is there, and does not run: `valgrind --version` ended with {status}"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "valgrind is missing, which counts the instructions: install your distribution's package `valgrind` \
             (`apt-get install valgrind`, `dnf install valgrind`)"
        ),
        Err(error) => Err(error).context("cannot run valgrind"),
    }
}

/// The instructions that each thing takes, once.
pub(crate) fn count(things: &[Thing]) -> anyhow::Result<BTreeMap<String, u64>> {
    let runs: Vec<_> = things.iter().flat_map(|thing| [(thing, BEFORE), (thing, thing.times_max)]).collect();
    let totals = side_by_side(&runs, |(thing, times)| collected(thing.name, *times))?;
    let each = things.iter().zip(totals.chunks(2));
    each.map(|(thing, totals)| {
        let spent = totals[1].checked_sub(totals[0]).with_context(|| format!("{}: more took less", thing.name))?;
        Ok((thing.name.to_owned(), spent / (thing.times_max - BEFORE) as u64))
    })
    .collect()
}

/// What becomes of each, in order. A count does not depend on what runs beside it.
fn side_by_side<T: Sync, R: Send>(each: &[T], run: impl Fn(&T) -> anyhow::Result<R> + Sync) -> anyhow::Result<Vec<R>> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = each.get(at) else { return done };
            done.push((at, run(item)));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect::<Vec<_>>()
    });
    done.sort_by_key(|(at, _)| *at);
    ensure!(done.len() == each.len(), "a count has panicked");
    done.into_iter().map(|(_, result)| result).collect()
}

/// The instructions of a process that does something so many times.
fn collected(name: &str, times: usize) -> anyhow::Result<u64> {
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let out = directory.path().join("callgrind.out");
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind").arg(argument(&out)).arg(program).args(["run", name, &times.to_string()]);
    // What lies in the environment is copied when a process starts, and counts.
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    let ran = command.stdin(Stdio::null()).output().context("cannot run valgrind")?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{name}, {times} times, ended with {} under valgrind:\n{said}", ran.status);
    let written = std::fs::read_to_string(&out).with_context(|| format!("valgrind wrote no counts:\n{said}"))?;
    let total = written.lines().find_map(|line| line.strip_prefix("totals:"));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.with_context(|| format!("valgrind wrote no total of {name}:\n{said}"))
}

fn argument(out: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from("--callgrind-out-file=");
    argument.push(out);
    argument
}
