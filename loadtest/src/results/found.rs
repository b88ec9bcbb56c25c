//! What measuring a part has found so far.

use std::collections::BTreeSet;

use super::record::{Row, Value};
use super::servers::{Kind, Server};
use super::session::{Came, Compared, Session};
use crate::outcome::Outcome;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) rows: Vec<Row>,
    pub(crate) remarks: BTreeSet<String>,
    pub(crate) skipped: Vec<String>,
    pub(crate) failed: Vec<String>,
}

impl Found {
    /// What is there; what is not is noted.
    pub(crate) fn noted<T>(&mut self, came: Result<T, String>) -> Option<T> {
        came.map_err(|why| {
            eprintln!("  failed: {why}");
            self.failed.push(why);
        })
        .ok()
    }

    /// What came of a command. What it complained of is noted, and what came of it is kept all the same: who reads the page
    /// shall see both.
    pub(crate) fn came<T>(&mut self, came: Result<Came<T>, String>) -> Option<(T, Vec<String>)> {
        let Came { of, shown, fault } = self.noted(came)?;
        if let Some(fault) = fault {
            let _: Option<()> = self.noted(Err(fault));
        }
        Some((of, shown))
    }

    /// A server that listens.
    pub(crate) async fn server(&mut self, session: &Session, kind: Kind) -> Option<Server> {
        let started = Server::start(session, kind).await;
        self.noted(started)
    }

    /// One target.
    pub(crate) fn outcome(&mut self, what: &str, came: Result<Came<Outcome>, String>) -> Option<Value> {
        let (of, shown) = self.came(came)?;
        self.remarks(&of);
        let row = Row::of_outcome(what, shown, &of);
        let rate = row.figures.get("rate").copied();
        self.rows.push(row);
        rate
    }

    /// Two targets, and how they compare.
    pub(crate) fn compared(&mut self, a: &str, b: &str, came: Result<Came<Compared>, String>) {
        let Some((Compared { a: first, b: second, ratios }, shown)) = self.came(came) else { return };
        self.remarks(&first);
        self.remarks(&second);
        self.rows.push(Row::of_outcome(a, shown, &first));
        self.rows.push(Row::of_outcome(b, Vec::new(), &second));
        self.rows.push(Row::of_ratios(&ratios));
    }

    /// Numbers differ from run to run, and what they are told for does not: each remark once, without them.
    fn remarks(&mut self, outcome: &Outcome) {
        let plain = |remark: &&str| remark.split([':', ';']).next().unwrap_or_default().to_owned();
        self.remarks.extend(outcome.remarks().iter().map(plain));
    }
}
