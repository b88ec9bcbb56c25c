//! Work, drawn one operation after another.

use super::{FOREVER, Job, Scenario};
use crate::random::{Random, Weighted};

/// A kind of operation that is drawn; releases follow from what was acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drawn {
    Check,
    Acquire,
    Renew,
}

impl Drawn {
    /// In the order in which a scenario says how often.
    const ALL: [Self; 3] = [Self::Check, Self::Acquire, Self::Renew];
}

/// An operation to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) kind: Drawn,
    /// The place of its tenant in the scenario.
    pub(crate) tenant: u32,
    /// The place of what it asks for in the scenario.
    pub(crate) shape: u32,
    /// For how long its lease is held, in nanoseconds.
    pub(crate) hold: u64,
}

/// What one of several generators does.
#[derive(Clone, Debug)]
pub(crate) struct Drafts {
    random: Random,
    mix: Weighted,
    tenants: Weighted,
    senders: Vec<u32>,
    shapes: u64,
    holds: Option<super::Spread<u64>>,
    /// What is left of this generator's jobs, the last first.
    jobs: Vec<Job>,
}

impl Drafts {
    /// Of generator `at` of `of`.
    pub(crate) fn new(scenario: &Scenario, at: usize, of: usize) -> Self {
        let senders: Vec<u32> =
            (0..scenario.tenants.len() as u32).filter(|at| scenario.tenants[*at as usize].load > 0.0).collect();
        let loads: Vec<f64> = senders.iter().map(|at| scenario.tenants[*at as usize].load).collect();
        let never = [1.0]; // a trace draws nothing
        let (mix, loads) =
            if scenario.jobs.is_empty() { (&scenario.mix[..], &loads[..]) } else { (&never[..], &never[..]) };
        Self {
            random: Random::new(scenario.seed, at as u64),
            mix: Weighted::new(mix),
            tenants: Weighted::new(loads),
            senders,
            shapes: scenario.shapes.len() as u64,
            holds: scenario.holds.clone(),
            jobs: scenario.jobs.iter().skip(at).step_by(of).rev().copied().collect(),
        }
    }

    /// The next operation.
    pub(crate) fn next(&mut self) -> Draft {
        let kind = Drawn::ALL[self.mix.draw(&mut self.random)];
        let (tenant, shape) = self.asker();
        let hold = match &self.holds {
            Some(holds) if kind == Drawn::Acquire => holds.draw(&mut self.random),
            Some(_) | None => FOREVER,
        };
        Draft { kind, tenant, shape, hold }
    }

    /// One of the leases that are held throughout.
    pub(crate) fn resident(&mut self) -> Draft {
        let (tenant, shape) = self.asker();
        Draft { kind: Drawn::Acquire, tenant, shape, hold: FOREVER }
    }

    /// When the next job of the trace is submitted, in nanoseconds after the start.
    pub(crate) fn next_submit(&self) -> Option<u64> {
        self.jobs.last().map(|job| job.submit)
    }

    /// The next job of the trace.
    pub(crate) fn next_job(&mut self) -> Option<Draft> {
        let Job { tenant, shape, hold, .. } = self.jobs.pop()?;
        Some(Draft { kind: Drawn::Acquire, tenant, shape, hold })
    }

    /// A number below `bound`, for what else is left to chance.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn asker(&mut self) -> (u32, u32) {
        let tenant = self.senders[self.tenants.draw(&mut self.random)];
        let shape = if self.shapes > 1 { self.random.below(self.shapes) as u32 } else { 0 };
        (tenant, shape)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use super::{Draft, Drafts, Drawn};
    use crate::scenario::{FOREVER, Scenario};

    fn scenario(yaml: &str, folder: &Path) -> Scenario {
        Scenario::parse("test.yaml", yaml, folder).unwrap_or_else(|problems| panic!("{problems}"))
    }

    const MIXED: &str = "
scenario: mixed
seed: 5
tenants: [{path: loadtest/t, count: 10, zipf: 1.2}, {path: loadtest, load: 0}]
mix: {check: 1, acquire: 3}
sizes: {cpu: {uniform: [1, 8]}}
holds: {exponential: 1s}
";

    #[test]
    fn a_seed_says_all_of_it_and_generators_draw_apart() {
        let scenario = scenario(MIXED, Path::new("."));
        let drawn = |at| {
            let mut drafts = Drafts::new(&scenario, at, 2);
            (0..1000).map(|_| drafts.next()).collect::<Vec<_>>()
        };
        assert_eq!(drawn(0), drawn(0));
        assert_ne!(drawn(0), drawn(1));
        let acquires = drawn(0).iter().filter(|draft| draft.kind == Drawn::Acquire).count();
        assert!((700..800).contains(&acquires), "{acquires}");
        assert!(drawn(0).iter().all(|draft| draft.tenant < 10), "a tenant without load asks for nothing");
        let first = drawn(0).iter().filter(|draft| draft.tenant == 0).count();
        assert!((330..450).contains(&first), "{first}");
    }

    #[test]
    fn a_trace_is_shared_among_generators_in_its_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = std::fs::File::create(folder.path().join("jobs.csv")).expect("a file");
        let lines = "id,tenant,submit,duration,priority,cpu\n1,a,100,8,0,2\n2,b,102,4,0,2\n3,a,106,4,0,1\n";
        file.write_all(lines.as_bytes()).expect("written");
        let yaml = "scenario: x\ntrace: {file: jobs.csv, faster: 2}\n";
        let scenario = scenario(yaml, folder.path());
        let mut drafts = Drafts::new(&scenario, 0, 2);
        let second = 1_000_000_000;
        let job = |tenant, shape, hold| Some(Draft { kind: Drawn::Acquire, tenant, shape, hold });
        assert_eq!((drafts.next_submit(), drafts.next_job()), (Some(0), job(0, 0, 4 * second)));
        assert_eq!((drafts.next_submit(), drafts.next_job()), (Some(3 * second), job(0, 1, 2 * second)));
        assert_eq!((drafts.next_submit(), drafts.next_job()), (None, None));
        assert_eq!(Drafts::new(&scenario, 1, 2).next_submit(), Some(second));
        assert_eq!(scenario.tenants[1].path, "loadtest/b");
        assert_ne!(FOREVER, second);
    }
}
