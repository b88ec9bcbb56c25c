//! What it was measured on, as far as figures hang on it.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::outcome::figures::Latency;
use crate::tally::histogram;

/// What is written before each fdatasync: about what a commit of a few decisions takes.
const WRITE_BYTES: usize = 4096;

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    /// The compiler that is used here.
    pub(crate) compiler: Option<String>,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let first = |path: &str, name: &str| {
            let text = std::fs::read_to_string(path).ok()?;
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = first("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        Self {
            processor: first("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory.map_or(0, |kibibytes| kibibytes.div_ceil(1 << 20)),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            compiler: super::said("rustc", &["--version"]),
        }
    }
}

/// How busy the machine has been, from some instant on, and how much of that was ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Busy {
    /// Seconds of all cores together.
    all_s: f64,
    used_s: f64,
    /// Of this process, and of those it has started that have ended.
    ours_s: f64,
}

impl Busy {
    /// Up to now.
    pub(crate) fn now() -> Option<Self> {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
        let text = std::fs::read_to_string("/proc/stat").ok()?;
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are within user.
        let fields = text.lines().next()?.split_whitespace().skip(1).take(8);
        let times: Vec<f64> = fields.map(|field| field.parse().unwrap_or(0.0)).collect();
        let all = times.iter().sum::<f64>();
        let idle = times.get(3)? + times.get(4)?;
        let spent = |who| {
            let usage = getrusage(who).ok()?;
            let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
            Some(seconds(usage.user_time()) + seconds(usage.system_time()))
        };
        let ours_s = spent(UsageWho::RUSAGE_SELF)? + spent(UsageWho::RUSAGE_CHILDREN)?;
        Some(Self { all_s: all / ticks, used_s: (all - idle) / ticks, ours_s })
    }

    /// The part of all cores' time that others have used since.
    pub(crate) fn others_until_now(self) -> Option<f64> {
        let now = Self::now()?;
        let all = now.all_s - self.all_s;
        let others = (now.used_s - self.used_s) - (now.ours_s - self.ours_s);
        (all > 0.0).then(|| (others / all).clamp(0.0, 1.0))
    }
}

/// How long the disk of a folder takes for what a journal asks of it: a block is appended, and fdatasync waited for.
pub(crate) fn fdatasync(folder: &Path, times: u32) -> Result<Latency, Fault> {
    let refuse = |error: std::io::Error| {
        Fault::Failed(format!("{} cannot be written to and synchronised: {error}", folder.display()))
    };
    let mut file = tempfile::tempfile_in(folder).map_err(refuse)?;
    let block = [0x5a; WRITE_BYTES];
    let mut taken = histogram();
    for _ in 0..times {
        let began = Instant::now();
        file.write_all(&block).and_then(|()| file.sync_data()).map_err(refuse)?;
        taken.saturating_record(nanoseconds(began.elapsed()));
    }
    Ok(Latency::of(&taken))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Busy, Machine, fdatasync};

    #[test]
    fn a_machine_says_what_it_is() {
        let machine = Machine::here();
        assert!(machine.cores > 0 && !machine.processor.is_empty() && !machine.kernel.is_empty(), "{machine:?}");
        let part = Busy::now().expect("it is known").others_until_now();
        assert!(part.is_none_or(|part| (0.0..=1.0).contains(&part)), "{part:?}");
    }

    #[test]
    fn a_disk_takes_its_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let taken = fdatasync(folder.path(), 3).expect("it can be written to");
        assert!(taken.count == 3 && taken.p50_us > 0.0, "{taken:?}");
        let refused = fdatasync(&folder.path().join("none"), 1).expect_err("no such folder");
        assert!(refused.to_string().contains("cannot be written to"), "{refused}");
    }
}
