//! Who asks for what, and when.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::fault::Fault;
use crate::scenario::{Amounts, Scenario};

/// A class of workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) name: &'static str,
    /// Of each queue.
    pub(crate) count: u32,
    /// Cores.
    pub(crate) units: u64,
    pub(crate) runs: Duration,
    pub(crate) every: Duration,
    pub(crate) priority: i32,
}

/// As `configs/baseline/generator.yaml` has them.
const CLASSES: [Class; 3] = [
    Class {
        name: "small",
        count: 350,
        units: 1,
        runs: Duration::from_millis(200),
        every: Duration::from_millis(100),
        priority: 50,
    },
    Class {
        name: "medium",
        count: 100,
        units: 5,
        runs: Duration::from_millis(500),
        every: Duration::from_millis(500),
        priority: 100,
    },
    Class {
        name: "large",
        count: 50,
        units: 20,
        runs: Duration::from_secs(1),
        every: Duration::from_millis(1200),
        priority: 200,
    },
];
/// Cores that are a queue's own.
const NOMINAL: u64 = 20;
/// Cores that a queue may borrow.
const BORROWING: u64 = 100;

/// The whole of it.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) classes: Vec<Class>,
    pub(crate) cohorts: u32,
    pub(crate) queues: u32,
    /// The tenants and their limits. A queue's place is its cohort's times the queues of each, and its own.
    pub(crate) scenario: Scenario,
}

/// One workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// When it is created, after the start.
    pub(crate) created: Duration,
    /// The place of its tenant.
    pub(crate) tenant: u32,
    /// The place of its class.
    pub(crate) class: u32,
}

impl Workload {
    /// With so many cohorts of so many queues, and of each class such a part of its workloads.
    pub(crate) fn new(cohorts: u32, queues: u32, part: f64) -> Result<Self, Fault> {
        let classes: Vec<Class> =
            CLASSES.map(|class| Class { count: (f64::from(class.count) * part).ceil() as u32, ..class }).into();
        let most = NOMINAL * u64::from(queues);
        let mut yaml = format!(
            "scenario: kueue\npool: {{capacity: {{cpu: {}}}, age_step: 0s, hold_after: 1s, max_queued: 1000000}}\ntenants:\n",
            most * u64::from(cohorts)
        );
        for cohort in 0..cohorts {
            // Writing to a string does not fail.
            let _ = writeln!(
                yaml,
                "  - {{path: loadtest/cohort-{cohort}/queue, count: {queues}, guaranteed: {{cpu: {NOMINAL}}}, limit: {{cpu: {}}}}}",
                NOMINAL + BORROWING
            );
        }
        for cohort in 0..cohorts {
            // Nobody borrows from another cohort.
            let _ = writeln!(
                yaml,
                "  - {{path: loadtest/cohort-{cohort}, load: 0, guaranteed: {{cpu: {most}}}, limit: {{cpu: {most}}}}}"
            );
        }
        yaml.push_str("mix: {acquire: 1}\nsizes: {cpu: 1}\nwait: true\n");
        let mut scenario = Scenario::parse("kueue", &yaml, Path::new("."))?;
        scenario.shapes = classes.iter().map(|class| Amounts::from([("cpu".to_owned(), class.units * 1000)])).collect();
        Ok(Self { classes, cohorts, queues, scenario })
    }

    /// All workloads, in the order of their creation.
    pub(crate) fn jobs(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        for (class, of) in self.classes.iter().enumerate() {
            for at in 0..of.count {
                let created = of.every * at;
                jobs.extend((0..self.cohorts * self.queues).map(|tenant| Job { created, tenant, class: class as u32 }));
            }
        }
        jobs.sort_by_key(|job| job.created);
        jobs
    }

    /// Cores of all queues together.
    pub(crate) fn nominal(&self) -> u64 {
        NOMINAL * u64::from(self.cohorts * self.queues)
    }

    /// Core-seconds of all workloads.
    pub(crate) fn work(&self) -> f64 {
        let of = |class: &Class| f64::from(class.count) * class.units as f64 * class.runs.as_secs_f64();
        self.classes.iter().map(of).sum::<f64>() * f64::from(self.cohorts * self.queues)
    }
}

#[cfg(test)]
mod tests {
    use super::Workload;

    #[test]
    fn it_is_as_large_as_the_benchmark() {
        let workload = Workload::new(5, 6, 1.0).expect("good");
        assert_eq!((workload.jobs().len(), workload.nominal()), (15_000, 600));
        assert!((workload.work() / workload.nominal() as f64 - 66.0).abs() < 1e-6, "{}", workload.work());
        assert_eq!(workload.scenario.tenants[7].path, "loadtest/cohort-1/queue-1");
        assert!(workload.jobs().windows(2).all(|pair| pair[0].created <= pair[1].created));
    }
}
