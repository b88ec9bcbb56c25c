//! How a target is driven: the words that several verbs share, and what is made of them.

use std::path::PathBuf;

use clap::Args;

use super::credentials::{Credentials, processes};
use crate::drive::fleet::{Fleet, Plan, Seen, Stop};
use crate::drive::link::{Load, LoadAsked};
use crate::embedded::Embedded;
use crate::fault::Fault;
use crate::handles;
use crate::outcome::figures::Run;
use crate::outcome::{Checked, Outcome, VERSION};
use crate::scenario::{Scenario, span};
use crate::schedule::{Arrivals, Bursts, Pace, Step};
use crate::setup::{Setup, guard};
use crate::target::{Protocol, Target};
use crate::watchers::Watchers;

/// A generator is at its limit when it was on a core for more than this part of the time.
const BUSY: f64 = 0.9;
/// The cores are at their limit when so much of them was used.
const FULL: f64 = 0.95;
/// Late sending that is no concern, in microseconds.
const LAG_FINE_US: f64 = 1000.0;
/// The part of what was asked for that must have been sent.
const DRIVEN: f64 = 0.98;

/// How to drive.
#[derive(Args, Clone, Debug)]
pub(super) struct Driving {
    /// What is done, by whom and how often (deploy/examples/loadtest has some); without it, pairs of acquire and release by ten
    /// tenants
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Do only this, instead of what the scenario mixes
    #[arg(long, value_name = "KIND")]
    call: Option<Call>,
    /// Another seed than the scenario's: the same draws the same work
    #[arg(long)]
    seed: Option<u64>,
    /// Connections, or callers of an embedded engine [default: 4; embedded: one for each thread]
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: Option<u32>,
    /// Operations under way at once, on all connections together [default: 256; embedded: one batch for each caller]
    #[arg(short = 'n', long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    in_flight: Option<u32>,
    /// Operations in one message of a stream, or in one call of an embedded engine [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: Option<u32>,
    /// Threads that generate; each has connections of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// How long to run before measuring
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = seconds)]
    warm_up: f64,
    /// How long to measure
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = seconds)]
    pub(super) duration: f64,
    /// Watchers beside the load, each told of everything that the load test does
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    watchers: u32,
    /// Whose CPU, memory and handles are read; found by its port where it is on this machine
    #[arg(long, value_name = "PID")]
    server_pid: Vec<u32>,
    /// Make the scenario's pool and tenants on the server, and remove them after; not of Envoy's service, nor of a webhook
    #[arg(long)]
    setup: bool,
    /// Write under tenants that are not the load test's own
    #[arg(long)]
    yes_production: bool,
    /// Calls after which a connection is replaced by another
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    calls_per_connection: Option<u32>,
    /// How long the server may say nothing while it is waited for
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = seconds)]
    patience: f64,
    #[command(flatten)]
    credentials: Credentials,
}

/// What is done instead of what a scenario mixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Call {
    /// Checks alone
    Check,
    /// Acquires, each with its release
    Acquire,
    /// Renewals of the scenario's population
    Renew,
    /// Reviews of pods, of a webhook
    Review,
}

/// When operations begin, where that does not hang on answers.
#[derive(Args, Clone, Debug)]
pub(super) struct Pacing {
    /// Operations a second; without it, as many as are answered
    #[arg(short, long, value_name = "RATE", value_parser = rate)]
    rate: Option<f64>,
    /// How they come
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    arrivals: Arrivals,
    /// Rates that follow each other, as 1000:10s,5000:10s; the last one stays
    #[arg(long, value_name = "RATE:TIME,…", conflicts_with = "rate", value_delimiter = ',', value_parser = step)]
    steps: Vec<Step>,
    /// So many more at once, every so often, as 1000:5s
    #[arg(long, value_name = "COUNT:TIME", value_parser = bursts)]
    bursts: Option<Bursts>,
}

impl Pacing {
    /// None: a closed loop.
    pub(super) fn pace(&self) -> Result<Option<Pace>, Fault> {
        let Self { rate, arrivals, steps, bursts } = self;
        let pace = match (rate, steps.is_empty()) {
            (Some(rate), _) => Pace::constant(*rate, *arrivals),
            (None, false) => Pace { steps: steps.clone(), bursts: None, arrivals: *arrivals },
            (None, true) if bursts.is_some() => {
                return Err(Fault::Usage("bursts come on top of a rate: say --rate or --steps too".to_owned()));
            }
            (None, true) => return Ok(None),
        };
        Ok(Some(Pace { bursts: *bursts, ..pace }))
    }
}

/// A target that is ready to be measured again and again.
pub(super) struct Driven {
    fleet: Fleet,
    setup: Option<Setup>,
    watchers: Option<Watchers>,
    target: Target,
    scenario: Scenario,
    load: Load,
    generators: usize,
    warm_up: f64,
    runs: Vec<Run>,
    failures: Vec<String>,
}

impl Driving {
    /// Reads the scenario, with what the command line says otherwise.
    pub(super) fn scenario(&self) -> Result<Scenario, Fault> {
        let mut scenario = Scenario::load(self.scenario.as_deref())?;
        if let Some(seed) = self.seed {
            scenario.seed = seed;
        }
        match self.call {
            None => {}
            Some(_) if !scenario.jobs.is_empty() => {
                return Err(Fault::Usage("a trace says what is done: --call may not stand beside it".to_owned()));
            }
            Some(Call::Check | Call::Review) => scenario.mix = [1.0, 0.0, 0.0],
            Some(Call::Acquire) => scenario.mix = [0.0, 1.0, 0.0],
            Some(Call::Renew) if scenario.population == 0 => {
                return Err(Fault::Usage("there is nothing to renew: the scenario has no population".to_owned()));
            }
            Some(Call::Renew) => scenario.mix = [0.0, 0.0, 1.0],
        }
        Ok(scenario)
    }

    /// Refuses what a target cannot be asked.
    fn fits(&self, target: &Target, scenario: &Scenario) -> Result<(), Fault> {
        let reviews = target.protocol == Protocol::Review;
        if self.call == Some(Call::Review) && !reviews {
            return Err(Fault::Usage(format!(
                "{target} reviews nothing: --call review is for a webhook, such as review+https://127.0.0.1:7443/validate"
            )));
        }
        let [_, _, renew] = scenario.mix;
        let takes = matches!(self.call, Some(Call::Acquire | Call::Renew)) || scenario.population > 0 || renew > 0.0;
        if self.watchers > 0 && !matches!(target.protocol, Protocol::Quota | Protocol::Stream) {
            return Err(Fault::Usage(format!(
                "{target} has nothing to watch: --watchers are for http://HOST:PORT and stream+http://HOST:PORT"
            )));
        }
        if reviews && takes {
            return Err(Fault::Usage(format!(
                "{target} can be asked whether a pod may start and nothing else, so nothing is held, renewed or released there: \
                 use --call review, and a scenario without a population"
            )));
        }
        Ok(())
    }

    /// Gets a target ready; all of it may last for `lasts_s`.
    pub(super) fn begin(&self, target: &Target, lasts_s: f64, stop: &Stop) -> Result<Driven, Fault> {
        let scenario = self.scenario()?;
        self.fits(target, &scenario)?;
        let load = self.load(target)?;
        handles::allow(load.connections + Watchers::connections(self.watchers as usize))?;
        let mut dial = self.credentials.dial(target, self.patience)?;
        dial.calls_max = self.calls_per_connection.unwrap_or(u32::MAX);
        let alone = target.protocol == Protocol::Embedded && target.file().is_none();
        // Nobody else is in an engine that has nothing but what is set up here.
        let is_set_up = !matches!(target.protocol, Protocol::RateLimit | Protocol::Review);
        let makes = alone || self.setup && is_set_up;
        guard(&scenario, makes, self.yes_production || alone)?;
        let seen = if target.protocol == Protocol::Embedded {
            let embedded = Embedded::open(&target.url(), target.file())?;
            dial.embedded = Some(embedded.clone());
            Seen::Embedded(embedded)
        } else {
            Seen::Processes(processes(&self.server_pid, target))
        };
        let setup = if makes { Some(Setup::make(&dial, &scenario)?) } else { None };
        let generators = (self.threads as usize).min(load.connections);
        let lasts_s = lasts_s.ceil() as u64;
        let plan = Plan { dial, load, scenario: scenario.clone(), generators, seen, lasts_s, stop: stop.clone() };
        let dial = plan.dial.clone();
        let launched = Fleet::launch(plan).and_then(|mut fleet| {
            let watchers = self.watchers as usize;
            let begun = fleet.fill().and_then(|_| (watchers > 0).then(|| Watchers::start(&dial, watchers)).transpose());
            match begun {
                Ok(watchers) => Ok((fleet, watchers)),
                Err(fault) => {
                    let _ = fleet.finish();
                    Err(fault)
                }
            }
        });
        match launched {
            Ok((fleet, watchers)) => Ok(Driven {
                fleet,
                setup,
                watchers,
                target: target.clone(),
                scenario,
                load,
                generators,
                warm_up: self.warm_up,
                runs: Vec::new(),
                failures: Vec::new(),
            }),
            Err(fault) => {
                // What went wrong first is what is said.
                let _ = setup.map(Setup::remove);
                Err(fault)
            }
        }
    }

    fn load(&self, target: &Target) -> Result<Load, Fault> {
        let [connections, in_flight, batch] =
            [self.connections, self.in_flight, self.batch].map(|said| said.map(|number| number as usize));
        let asked = LoadAsked { connections, in_flight, batch, generators: self.threads as usize };
        Load::of(asked, target).map_err(Fault::Usage)
    }

    /// How long so many repetitions last at most, in seconds.
    pub(super) fn lasts_s(&self, repetitions: u32) -> f64 {
        f64::from(repetitions) * (self.warm_up + self.duration + 10.0)
    }
}

impl Driven {
    /// Runs once more.
    pub(super) fn measure(&mut self, seconds: f64, pace: Option<&Pace>) -> Result<&Run, Fault> {
        let measured = self.fleet.measure(self.warm_up, seconds, pace)?;
        let until = self.warm_up + measured.seconds;
        let asked = pace.map(|pace| pace.asked(self.warm_up, until));
        let mut run = Run::of(&measured, asked);
        run.remarks = remarks(&run);
        self.judge(&run);
        self.runs.push(run);
        match self.runs.last() {
            Some(run) => Ok(run),
            None => unreachable!("it was pushed"),
        }
    }

    /// What makes a run none.
    fn judge(&mut self, run: &Run) {
        if let Some(asked) = run.asked_rate {
            // Releases follow what was begun, and are not in what was asked for.
            let driven = (asked - run.unsent as f64 / run.seconds).max(0.0);
            // As many as may be under way can be late at the end of any run.
            if driven < asked * DRIVEN && run.unsent > self.load.in_flight as u64 {
                let why = match run.client.busiest > BUSY {
                    true if run.is_embedded() => "its threads decided and drove all the time; give it more --threads",
                    true => "the client was at its limit; give it more --threads, or ask for less",
                    false => "the server took no more; ask for less, or let more be under way with --in-flight",
                };
                self.failures.push(format!("{asked:.0}/s were asked for, and {driven:.0}/s could be driven: {why}"));
            }
        }
        let url = self.target.url();
        if run.operations == 0 {
            self.failures.push(format!("{url} answered nothing while it was measured"));
        } else if run.failures() >= run.operations {
            let why = run.examples.iter().map(|(what, said)| format!("{what}: {said}")).collect::<Vec<_>>().join("; ");
            self.failures.push(format!("{url} did nothing of what it was asked ({why})"));
        }
    }

    /// Takes over what was set up, to be removed once nobody needs it any more.
    pub(super) fn take_setup(&mut self) -> Option<Setup> {
        self.setup.take()
    }

    /// Gives back all that was taken; returns the outcome, and what failed besides.
    pub(super) fn finish(self) -> (Outcome, Vec<String>) {
        let Self { fleet, setup, watchers, target, scenario, load, generators, runs, mut failures, .. } = self;
        let checker = fleet.checker();
        let (limits, nearest) = (checker.bounds(), checker.nearest());
        let shared = fleet.shared();
        let watched = watchers.map(Watchers::finish).transpose().unwrap_or_else(|why| {
            failures.push(why);
            None
        });
        if let Some(back) = watched.as_ref().map(|watched| watched.out_of_order).filter(|back| *back > 0) {
            shared.checker.violated(|| format!("watchers were told {back} times of what came before what they knew"));
        }
        let finished = fleet.finish();
        let removed = setup.map_or(Ok(()), Setup::remove);
        let left = match finished {
            Ok(leftover) => leftover.leases,
            Err(fault) => {
                failures.push(fault.to_string());
                0
            }
        };
        failures.extend(removed.err().map(|fault| fault.to_string()));
        let (violations, told) = (shared.checker.found(), shared.checker.told());
        if violations > 0 {
            failures.push(format!("{violations} violations were found: {}", told.join("; ")));
        }
        let outcome = Outcome {
            version: VERSION,
            target: target.to_string(),
            scenario: scenario.name.clone(),
            seed: scenario.seed,
            load,
            generators,
            pace: None,
            runs,
            checked: Checked { limits, violations, told, nearest, left },
            watched,
        };
        (outcome, failures)
    }
}

/// What must be known before figures are believed.
fn remarks(run: &Run) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let mut remarks = Vec::new();
    // Whoever asks an engine of our own decides too: that its thread is busy is as it should be.
    let embedded = run.is_embedded();
    if run.client.busiest > BUSY && !embedded {
        remarks.push(format!(
            "the client was at its limit: a thread of it was on a core for {:.0} % of the time; give it more --threads, or read \
             the rate as what it can drive",
            run.client.busiest * 100.0
        ));
    }
    if let Some(server) = run.server.as_ref().filter(|_| !embedded) {
        let (server, client) = (server.cores, run.client.cores);
        if server + client > cores * FULL {
            remarks.push(format!(
                "client and server used all {cores} cores together: {client:.2} and {server:.2} of them"
            ));
        }
        if client > server {
            remarks.push(format!("the client used more CPU than the server: {client:.2} and {server:.2} cores"));
        }
    }
    let lag = &run.client.lag;
    if lag.p99_us > LAG_FINE_US.max(run.latency.p99_us / 2.0) {
        let late = crate::outcome::text::time(lag.p99_us);
        remarks.push(format!(
            "the client lagged behind its schedule: one in a hundred operations was sent {late} late, or later"
        ));
    }
    remarks
}

/// Seconds of a time such as `10s`.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    span(text).map(|nanoseconds| nanoseconds as f64 / 1e9)
}

/// Operations a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.replace('_', "").parse().ok().filter(|rate| (1e-3..=1e9).contains(rate));
    rate.ok_or_else(|| format!("{text} is no rate: write a number of operations a second, such as 10000"))
}

fn step(text: &str) -> Result<Step, String> {
    let (of, time) = text.split_once(':').ok_or_else(|| format!("{text} is no step: write one such as 1000:10s"))?;
    let (rate, seconds) = (if of == "0" { 0.0 } else { rate(of)? }, seconds(time)?);
    if seconds > 0.0 { Ok(Step { rate, seconds }) } else { Err(format!("{text} lasts no time")) }
}

fn bursts(text: &str) -> Result<Bursts, String> {
    let (size, time) = text.split_once(':').ok_or_else(|| format!("{text} is no burst: write one such as 1000:5s"))?;
    let size = size.parse().ok().filter(|size| (1..=100_000_000).contains(size));
    let size = size.ok_or_else(|| format!("{text} is no burst: it begins with a number of operations"))?;
    let every_s = seconds(time)?;
    if every_s > 0.0 { Ok(Bursts { size, every_s }) } else { Err(format!("{text} comes without a pause")) }
}
