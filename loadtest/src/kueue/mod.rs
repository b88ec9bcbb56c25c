//! The workload of Kueue's own scheduler benchmark, driven in real time by simulated job runners.
//!
//! Its generator (`test/performance/scheduler` in kubernetes-sigs/kueue) makes cohorts of queues that borrow from each
//! other, and for each queue three classes of workloads, created at intervals, each running for a while once it is admitted.
//! Here a cohort is a tenant, a queue a tenant below it, and a runner asks, waits, runs and releases over gRPC. What differs:
//! there is no API server between.

mod measure;
mod runner;
mod workload;

pub(crate) use runner::{Shown, drive};
pub(crate) use workload::Workload;
