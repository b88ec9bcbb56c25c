//! Runs one scenario, and compares what came of it with what was expected.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use headgate_ledger::{
    Amount, Amounts, Change, Close, End, Explanation, Id, Outcome, Pool, Reason, Refusal, Request, Source, Standing,
    State, Tenant,
};

use super::cell::{Turn, VirtualCell};
use super::expect::{BudgetExpect, ErrorWord, Expect, LeaseWord, RateExpect};
use super::file::{Acquire, Action, OUTCOMES, Scenario, Step};
use super::hit::Hits;
use super::report::{Failure, Mismatch};
use crate::config::{PoolShape, Problem, TenantChange, Text, format_amount, format_span, parse_amount};

/// Answers of one step that are explained: enough to see why the first, or the last, is not as expected.
const EXPLAINED_MAX: usize = 100;
/// How far a share may be from what is expected.
const SHARE_NEAR: f64 = 0.001 + 1e-9;

/// What became of a scenario.
pub(super) enum Run {
    Passed,
    /// A step did not come out as expected.
    Failed(Box<Failure>),
    /// Its configuration is refused.
    Refused(Vec<Problem>),
}

pub(super) fn run(scenario: &Scenario) -> Run {
    let mut runner = Runner {
        cell: VirtualCell::new(scenario.start, true),
        scenario,
        ids: HashMap::new(),
        names: HashMap::new(),
        mark: 0,
    };
    if let Err(problems) = runner.cell.configure(scenario.objects.to_changes()) {
        return Run::Refused(problems.iter().map(|problem| scenario.objects.located(problem)).collect());
    }
    for (number, step) in (1..).zip(&scenario.steps) {
        if let Some(failure) = runner.step(number, step) {
            return Run::Failed(Box::new(failure));
        }
    }
    Run::Passed
}

struct Runner<'a> {
    cell: VirtualCell,
    scenario: &'a Scenario,
    /// What each id of the scenario stands for; none where the request was denied.
    ids: HashMap<String, Option<Id>>,
    names: HashMap<Id, String>,
    /// Where in the journal `admitted` and `revoked` start.
    mark: usize,
}

/// What an action was answered.
#[derive(Default)]
struct Answers {
    error: Option<(ErrorWord, String)>,
    decisions: Vec<Answer>,
}

struct Answer {
    id: String,
    outcome: Outcome,
    reasons: Vec<Reason>,
    explanation: Option<Explanation>,
}

/// What was not as expected, as it is found.
#[derive(Default)]
struct Findings {
    mismatches: Vec<Mismatch>,
    explanations: Vec<(String, Explanation)>,
}

impl Findings {
    fn compare(&mut self, what: impl Into<String>, expected: &str, got: &str) {
        if expected != got {
            self.differs(what, expected, got);
        }
    }

    fn differs(&mut self, what: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) {
        self.mismatches.push(Mismatch { what: what.into(), expected: expected.into(), got: got.into() });
    }
}

impl Runner<'_> {
    fn step(&mut self, number: usize, step: &Step) -> Option<Failure> {
        let at = step.at.map_or(self.cell.now(), |at| self.scenario.start.after(at));
        if at > self.cell.now() || step.action.is_some() {
            self.mark = self.cell.journal().len();
        }
        self.cell.advance(at);
        let answers = step.action.as_ref().map(|action| self.act(action)).unwrap_or_default();
        let mut findings = Findings::default();
        for violation in self.cell.take_violations() {
            findings.differs(format!("invariant {}", violation.invariant), "holds", violation.what);
        }
        self.check_answers(&step.expect, answers, &mut findings);
        self.check_state(&step.expect, &mut findings);
        let Findings { mismatches, mut explanations } = findings;
        if mismatches.is_empty() {
            return None;
        }
        explanations.truncate(1);
        Some(Failure {
            step: number,
            line: step.line,
            at: format_span(self.cell.now().since(self.scenario.start)),
            action: step.action.as_ref().map_or_else(|| "expect".into(), ToString::to_string),
            mismatches,
            explanation: explanations.pop().map(|(of, explanation)| super::report::explained(&of, &explanation)),
        })
    }

    fn act(&mut self, action: &Action) -> Answers {
        let done = match action {
            Action::Acquire(acquire) => return self.acquire(acquire),
            Action::Hit(hits) => return self.hit(hits),
            Action::Resize { id, resources } => return self.resize(id, resources.as_ref()),
            Action::Confirm(id) => self.with(id, |cell, id| cell.confirm(id).map_err(refused)),
            Action::Renew(id) => self.with(id, |cell, id| cell.renew(id, None).map_err(refused)),
            Action::Cancel(id) => self.with(id, |cell, id| cell.close(id, Close::Cancel).map_err(refused)),
            Action::Release(ids) => {
                ids.iter().try_for_each(|id| self.with(id, |cell, id| cell.close(id, Close::Release).map_err(refused)))
            }
            Action::Capacity { pool, capacity, unavailable } => {
                let (pool, capacity, unavailable) = (pool.clone(), capacity.clone(), unavailable.clone());
                if self.cell.ledger().pool(pool.as_str()).is_none() {
                    Err((ErrorWord::NotFound, format!("there is no pool {pool}")))
                } else {
                    self.configure(Change::Capacity { pool, capacity, unavailable })
                }
            }
            Action::PutPool(shape) => self.put_pool(shape),
            Action::PutTenant(change) => self.put_tenant(change),
            Action::DeleteTenant { path, drain } => {
                if self.cell.ledger().tenant(path.as_str()).is_none() {
                    Err((ErrorWord::NotFound, format!("there is no tenant {path}")))
                } else {
                    self.configure(Change::DeleteTenant { path: path.clone(), drain: *drain })
                }
            }
            Action::Restart => {
                self.cell.restart();
                Ok(())
            }
        };
        Answers { error: done.err(), decisions: Vec::new() }
    }

    fn acquire(&mut self, acquire: &Acquire) -> Answers {
        let mut answers = Answers::default();
        let requests = match &acquire.requests {
            Ok(requests) => requests,
            Err(why) => {
                answers.error = Some((ErrorWord::Invalid, why.clone()));
                return answers;
            }
        };
        for (id, request) in requests {
            let explained = answers.decisions.len() < EXPLAINED_MAX;
            let explanation = explained.then(|| self.explain(request)).flatten();
            match self.cell.acquire(request, acquire.work) {
                Err(refusal) => {
                    answers.error = Some(refused(refusal));
                    return answers;
                }
                Ok(decision) => {
                    self.ids.insert(id.clone(), decision.id);
                    if let Some(number) = decision.id {
                        self.names.insert(number, id.clone());
                    }
                    let (outcome, reasons) = (decision.outcome, decision.reasons);
                    answers.decisions.push(Answer { id: id.clone(), outcome, reasons, explanation });
                }
            }
        }
        answers
    }

    fn hit(&mut self, hits: &Hits) -> Answers {
        let mut answers = Answers::default();
        for number in 1..=hits.repeat {
            let decided = hits.hits.as_ref().map_err(|why| (ErrorWord::Invalid, why.clone()));
            match decided.and_then(|hits| self.cell.hit(hits).map_err(refused)) {
                Err(error) => {
                    answers.error = Some(error);
                    return answers;
                }
                Ok(decision) => {
                    let outcome = if decision.allowed { Outcome::Allow } else { Outcome::Deny };
                    let reasons = decision.hits.into_iter().flat_map(|hit| hit.reasons).collect();
                    let id = format!("hit {number}");
                    answers.decisions.push(Answer { id, outcome, reasons, explanation: None });
                }
            }
        }
        answers
    }

    fn resize(&mut self, id: &str, resources: Result<&Amounts, &String>) -> Answers {
        let mut answers = Answers::default();
        let done = resources
            .map_err(|why| (ErrorWord::Invalid, why.clone()))
            .and_then(|resources| self.with(id, |cell, number| cell.amend(number, resources).map_err(refused)));
        match done {
            Err(error) => answers.error = Some(error),
            Ok(amendment) => {
                // Nothing to post and nothing against it: it had that size.
                let refused = amendment.entry.is_none() && !amendment.reasons.is_empty();
                let outcome = if refused { Outcome::Deny } else { Outcome::Allow };
                answers.decisions.push(Answer {
                    id: id.into(),
                    outcome,
                    reasons: amendment.reasons,
                    explanation: None,
                });
            }
        }
        answers
    }

    fn configure(&mut self, change: Change) -> Result<(), (ErrorWord, String)> {
        let said = |problems: Vec<headgate_ledger::Problem>| {
            let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
            (ErrorWord::Invalid, told.join("; "))
        };
        self.cell.configure(vec![change]).map(|_| ()).map_err(said)
    }

    fn put_pool(&mut self, shape: &PoolShape) -> Result<(), (ErrorWord, String)> {
        let name = shape.name.value.0.clone();
        let pool = self.cell.ledger().pool(name.as_str()).cloned();
        let pool = pool.unwrap_or_else(|| Pool { source: Source::File, ..Pool::new(name) });
        self.configure(Change::PutPool(shape.clone().over(pool)))
    }

    fn put_tenant(&mut self, change: &TenantChange) -> Result<(), (ErrorWord, String)> {
        let path = change.path.value.0.clone();
        let tenant = self.cell.ledger().tenant(path.as_str()).cloned();
        let tenant = tenant.unwrap_or_else(|| Tenant { source: Source::File, ..Tenant::new(path) });
        let tenant = change.clone().over(tenant).map_err(|problems| {
            let told: Vec<_> = problems.into_iter().map(|problem| problem.what).collect();
            (ErrorWord::Invalid, told.join("; "))
        })?;
        self.configure(Change::PutTenant(tenant))
    }

    /// Asks something about the lease or ticket that an id stands for.
    fn with<T>(
        &mut self,
        id: &str,
        ask: impl FnOnce(&mut VirtualCell, Id) -> Result<T, (ErrorWord, String)>,
    ) -> Result<T, (ErrorWord, String)> {
        match self.ids.get(id) {
            Some(Some(number)) => ask(&mut self.cell, *number),
            Some(None) => Err((ErrorWord::NotFound, format!("request {id} was denied: there is nothing of it"))),
            None => Err((ErrorWord::NotFound, format!("no step has acquired {id}"))),
        }
    }

    fn explain(&self, request: &Arc<Request>) -> Option<Explanation> {
        self.cell.ledger().explain(self.cell.now(), request).ok()
    }

    fn check_answers(&self, expect: &Expect, answers: Answers, findings: &mut Findings) {
        let Answers { error, decisions } = answers;
        match (expect.error, &error) {
            (None, None) => {}
            (Some(expected), None) => findings.differs("error", expected.word(), "none"),
            (None, Some((word, why))) => findings.differs("error", "none", format!("{}: {why}", word.word())),
            (Some(expected), Some((word, _))) if expected == *word => {}
            (Some(expected), Some((word, why))) => {
                findings.differs("error", expected.word(), format!("{}: {why}", word.word()));
            }
        }
        if error.is_some() {
            return;
        }
        if let Some(expected) = expect.counts {
            let got = OUTCOMES.map(|outcome| decisions.iter().filter(|answer| answer.outcome == outcome).count());
            if got.iter().zip(expected).any(|(got, expected)| *got != expected as usize) {
                findings.differs("decisions", counted(expected.map(|count| count as usize)), counted(got));
                let over = |answer: &&Answer| {
                    (0..3).any(|at| OUTCOMES[at] == answer.outcome && got[at] > expected[at] as usize)
                };
                explain_last(decisions.iter().filter(over), findings);
            }
        }
        for answer in &decisions {
            let named = |what: &str| if decisions.len() > 1 { format!("{what} of {}", answer.id) } else { what.into() };
            let before = findings.mismatches.len();
            if let Some(expected) = expect.outcome {
                findings.compare(named("decision"), expected.word(), answer.outcome.word());
            }
            let counted_in = expect.counts.is_none() || answer.outcome != Outcome::Allow;
            if counted_in {
                let first = answer.reasons.first();
                if let Some(expected) = expect.reason {
                    let got = first.map_or("none", |reason| reason.code.word());
                    findings.compare(named("reason"), expected.word(), got);
                }
                if let Some(expected) = &expect.tenant {
                    let got = first.map_or("none".into(), |reason| node(reason.tenant.as_str()));
                    findings.compare(named("tenant"), &node(expected), &got);
                }
                if let Some(expected) = &expect.resource {
                    let got = first.and_then(|reason| reason.resource.as_ref()).map_or("none", |name| name.as_str());
                    findings.compare(named("resource"), expected, got);
                }
                if let Some(expected) = expect.until {
                    let until = first.and_then(|reason| reason.until);
                    let got = until.map_or("none".into(), |until| format_span(until.since(self.scenario.start)));
                    findings.compare(named("until"), &format_span(expected), &got);
                }
            }
            if findings.mismatches.len() > before {
                explain_last(std::iter::once(answer), findings);
                break; // the first says enough
            }
        }
        if let (Some(expected), Some(last)) = (expect.position, decisions.last()) {
            let id = self.ids.get(&last.id).copied().flatten();
            let got = id.and_then(|id| self.cell.ledger().position(self.cell.now(), id));
            let got = got.map_or("none: it does not wait".into(), |position| position.to_string());
            findings.compare("position", &expected.to_string(), &got);
        }
    }

    fn check_state(&self, expect: &Expect, findings: &mut Findings) {
        self.check_happened(expect, findings);
        self.check_reclaiming(expect, findings);
        self.check_standings(expect, findings);
        for (id, expected) in &expect.leases {
            let got = match self.ids.get(id) {
                None => "never seen: no step has acquired it",
                Some(None) => LeaseWord::Gone.word(),
                Some(Some(number)) => match self.cell.ledger().state(*number) {
                    Some(State::Waiting) => LeaseWord::Waiting.word(),
                    Some(State::Provisional) => LeaseWord::Provisional.word(),
                    Some(State::Active) => LeaseWord::Active.word(),
                    Some(State::Reclaiming) => LeaseWord::Reclaiming.word(),
                    Some(State::Ended(_)) | None => LeaseWord::Gone.word(),
                },
            };
            findings.compare(format!("lease {id}"), expected.word(), got);
        }
        for (tenant, budgets) in &expect.budget {
            for (name, expected) in budgets {
                self.check_budget(tenant, name, expected, findings);
            }
        }
        for (tenant, rates) in &expect.rate {
            for (name, expected) in rates {
                self.check_rate(tenant, name, expected, findings);
            }
        }
    }

    /// What happened since a step last moved time or acted.
    fn check_happened(&self, expect: &Expect, findings: &mut Findings) {
        let since = self.cell.journal().get(self.mark..).unwrap_or_default();
        let turns = since.iter().filter_map(|(_, entry)| Turn::of(entry));
        if let Some(expected) = &expect.admitted {
            let dispatched = |turn| if let Turn::Dispatched(id) = turn { Some(self.name(id)) } else { None };
            let got: Vec<_> = turns.clone().filter_map(dispatched).collect();
            if *expected != got {
                findings.differs("admitted, in order", listed(expected), listed(&got));
                let missing = expected.iter().find(|id| !got.contains(id));
                if let Some(id) = missing
                    && let Some(ticket) =
                        self.ids.get(id).copied().flatten().and_then(|id| self.cell.ledger().ticket(id))
                    && let Some(explanation) = self.explain(&ticket.request)
                {
                    findings.explanations.push((id.clone(), explanation));
                }
            }
        }
        if let Some(expected) = &expect.revoked {
            let revoked = |turn| if let Turn::Ended(id, End::Revoked) = turn { Some(id) } else { None };
            self.compare_sets("revoked", expected, turns.filter_map(revoked), findings);
        }
    }

    fn check_reclaiming(&self, expect: &Expect, findings: &mut Findings) {
        if let Some(expected) = &expect.reclaiming {
            let leases = self.cell.ledger().leases();
            let got = leases.filter(|lease| lease.deadline().is_some() && lease.request.pool.as_str() == expect.pool);
            self.compare_sets("reclaiming", expected, got.map(|lease| lease.id), findings);
        }
    }

    fn compare_sets(&self, what: &str, expected: &[String], got: impl Iterator<Item = Id>, findings: &mut Findings) {
        let mut got: Vec<_> = got.map(|id| self.name(id)).collect();
        let mut expected = expected.to_vec();
        got.sort();
        expected.sort();
        if expected != got {
            findings.differs(what, listed(&expected), listed(&got));
        }
    }

    /// What is expected of nodes of the pool's tree.
    fn check_standings(&self, expect: &Expect, findings: &mut Findings) {
        let number =
            |found: u64, expected: &u64| (*expected != found).then(|| (expected.to_string(), found.to_string()));
        self.each("running", &expect.running, expect, findings, |standing, expected| {
            number(standing.running, expected)
        });
        self.each("waiting", &expect.waiting, expect, findings, |standing, expected| {
            number(standing.waiting, expected)
        });
        let held = |standing: &Standing, expected: &Amounts, of: fn(&headgate_ledger::Holding) -> u64| {
            let found = |name: &str| standing.holdings.iter().find(|held| held.resource.as_str() == name).map_or(0, of);
            let text = |amount: u64, name: &str| format!("{name} {}", format_amount(amount, name));
            let wrong: Vec<_> = expected
                .iter()
                .map(|(name, expected)| (name.as_str(), expected, found(name.as_str())))
                .filter(|(_, expected, found)| expected != found)
                .map(|(name, expected, found)| (text(expected, name), text(found, name)))
                .collect();
            let (expected, got): (Vec<_>, Vec<_>) = wrong.into_iter().unzip();
            (!expected.is_empty()).then(|| (expected.join(", "), got.join(", ")))
        };
        self.each("usage", &expect.usage, expect, findings, |standing, said| held(standing, said, |held| held.usage));
        self.each("borrowed", &expect.borrowed, expect, findings, |standing, said| {
            held(standing, said, |held| held.borrowed)
        });
        self.each("share", &expect.share, expect, findings, |standing, expected| {
            let got = standing.share_millionths as f64 / 1e6;
            ((got - expected).abs() > SHARE_NEAR).then(|| (expected.to_string(), got.to_string()))
        });
    }

    fn each<T>(
        &self,
        what: &str,
        expected: &BTreeMap<String, T>,
        expect: &Expect,
        findings: &mut Findings,
        differs: impl Fn(&Standing, &T) -> Option<(String, String)>,
    ) {
        for (tenant, expected) in expected {
            match self.standing(&expect.pool, tenant) {
                Err(why) => findings.differs(format!("{what} of {}", node(tenant)), "a number", why),
                Ok(standing) => {
                    if let Some((expected, got)) = differs(&standing, expected) {
                        findings.differs(format!("{what} of {}", node(tenant)), expected, got);
                    }
                }
            }
        }
    }

    /// A node as it stands. A member that is not made, or is gone, holds nothing.
    fn standing(&self, pool: &str, tenant: &str) -> Result<Standing, String> {
        let ledger = self.cell.ledger();
        if let Some(standing) = ledger.standing(self.cell.now(), pool, tenant) {
            return Ok(standing);
        }
        if ledger.pool(pool).is_none() {
            return Err(format!("there is no pool {pool}"));
        }
        let parsed = headgate_ledger::TenantPath::parse(tenant).map_err(|error| error.to_string())?;
        let parent = parsed.parent().and_then(|parent| ledger.tenant(parent.as_str()).cloned());
        if ledger.tenant(tenant).is_none() && parent.is_none_or(|parent| parent.members.is_none()) {
            return Err(format!("there is no tenant {tenant}"));
        }
        Ok(Standing {
            tenant: parsed,
            running: 0,
            waiting: 0,
            reclaiming: 0,
            share_millionths: 0,
            rank: 0,
            sisters: 0,
            holdings: Vec::new(),
        })
    }

    fn check_budget(&self, tenant: &str, name: &str, expected: &BudgetExpect, findings: &mut Findings) {
        let what = format!("budget {name} of {tenant}");
        let ledger = self.cell.ledger();
        let spec =
            ledger.tenant(tenant).and_then(|tenant| tenant.budgets.iter().find(|budget| budget.name.as_str() == name));
        let (Some(spec), Some(standing)) = (spec, ledger.budget(tenant, name)) else {
            return findings.differs(what, "used and left", "there is no such budget");
        };
        let resource = spec.resource.as_str();
        let left = standing.amount.saturating_sub(standing.used);
        for (word, said, got) in [("used", &expected.used, standing.used), ("left", &expected.left, left)] {
            if let Some(said) = said {
                check_amount(format!("{what}, {word}"), said, got, resource, findings);
            }
        }
    }

    fn check_rate(&self, tenant: &str, name: &str, expected: &RateExpect, findings: &mut Findings) {
        let what = format!("rate {name} of {tenant}");
        let ledger = self.cell.ledger();
        let spec = ledger.tenant(tenant).and_then(|tenant| tenant.rates.iter().find(|rate| rate.name.as_str() == name));
        let (Some(spec), Some(standing)) = (spec, ledger.rate(self.cell.now(), tenant, name)) else {
            return findings.differs(what, "left", "there is no such rate");
        };
        check_amount(format!("{what}, left"), &expected.left, standing.left, spec.resource.as_str(), findings);
    }

    fn name(&self, id: Id) -> String {
        self.names.get(&id).cloned().unwrap_or_else(|| format!("#{id}"))
    }
}

/// Compares an amount with what a quantity of its resource says.
fn check_amount(what: String, said: &Text, got: Amount, resource: &str, findings: &mut Findings) {
    match parse_amount(&said.0, resource) {
        Ok(amount) if amount == got => {}
        Ok(amount) => findings.differs(what, format_amount(amount, resource), format_amount(got, resource)),
        Err(error) => findings.differs(what, said.0.as_str(), error.to_string()),
    }
}

fn explain_last<'a>(answers: impl Iterator<Item = &'a Answer>, findings: &mut Findings) {
    if let Some((id, explanation)) =
        answers.filter_map(|answer| Some((&answer.id, answer.explanation.as_ref()?))).last()
    {
        findings.explanations.push((id.clone(), explanation.clone()));
    }
}

/// A refusal in the words of scenario files.
fn refused(refusal: Refusal) -> (ErrorWord, String) {
    let word = match &refusal {
        Refusal::NoTenant(_) | Refusal::NoPool(_) | Refusal::NoQuota(_, _) | Refusal::NoLease(_) => ErrorWord::NotFound,
        Refusal::Invalid { .. } | Refusal::MembersFull { .. } | Refusal::Waits(_) => ErrorWord::Invalid,
        Refusal::Exists(_) => ErrorWord::Exists,
        Refusal::Gone(_) => ErrorWord::Gone,
    };
    (word, refusal.to_string())
}

fn node(path: &str) -> String {
    if path.is_empty() { "the pool".into() } else { path.into() }
}

fn listed(ids: &[String]) -> String {
    format!("[{}]", ids.join(", "))
}

fn counted(counts: [usize; 3]) -> String {
    let said: Vec<_> =
        OUTCOMES.iter().zip(counts).map(|(outcome, count)| format!("{} {count}", outcome.word())).collect();
    said.join(", ")
}
