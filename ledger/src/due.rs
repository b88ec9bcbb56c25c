//! What follows from time and state alone, and when.

use std::time::Duration;

use crate::config::Calendar;
use crate::entry::Entry;
use crate::ledger::{Ledger, Timer};
use crate::pool::ROOT;
use crate::request::{End, Id};
use crate::rows::Rows;
use crate::time::Time;

impl Ledger {
    /// What follows from time and state alone, one entry at a time; to be posted, and asked again.
    pub fn due(&self, now: Time, calendar: &dyn Calendar) -> Option<Entry> {
        // What falls on this instant is applied first, then dispatched once.
        let first = self.timers.first().filter(|(at, _)| *at <= now);
        if let Some((at, timer)) = first
            && (*at < now || self.revoking || !matches!(timer, Timer::AtOnce(_)))
        {
            return Some(self.ring(*timer, now, calendar));
        }
        let over = self.pools.iter().find_map(|pool| {
            let (_, node) = pool.burst_ends.first().filter(|(ends, _)| *ends <= now)?;
            Some(Entry::BurstOver { pool: pool.spec.name.clone(), tenant: pool.node(*node).path.clone() })
        });
        if over.is_some() {
            return over;
        }
        if let Some(tenant) = self.draining.iter().find(|path| self.is_empty_tenant(path)) {
            return Some(Entry::Drained { tenant: tenant.clone() });
        }
        let dispatched = (0..self.pools.len()).find_map(|at| self.due_in_pool(at, now));
        dispatched.or_else(|| first.map(|(_, timer)| self.ring(*timer, now, calendar)))
    }

    /// The first instant after `now` at which something may be due.
    pub fn next_due(&self, now: Time) -> Option<Time> {
        let timers = self.timers.from((now, Timer::AtOnce(Id(u64::MAX))));
        let mut next: Option<Time> = timers.map(|(at, _)| *at).find(|at| *at > now);
        let mut earlier = |at: Time| {
            if at > now && at != Time::NEVER && next.is_none_or(|next| at < next) {
                next = Some(at);
            }
        };
        if let Some(at) = self.next_rate_turn(now) {
            earlier(at);
        }
        for pool in &self.pools {
            let spec = &pool.spec;
            let after = |set: &Rows<(Time, Id)>, span: Duration| {
                let from = Time::from_nanos(now.nanos().saturating_sub(crate::time::nanos_of(span)));
                set.from((from, Id(0))).map(|(at, _)| at.after(span)).find(|at| *at > now)
            };
            if let Some(at) = after(&pool.arrivals, spec.hold_after) {
                earlier(at);
            }
            if !spec.hold_for.is_zero() {
                let ends = pool.turns.iter().map(|(since, _)| since.after(spec.hold_for));
                ends.into_iter().find(|at| *at > now).into_iter().for_each(&mut earlier);
            }
            if pool.node(ROOT).waiting > 0
                && let Some(at) = after(&pool.admissions, spec.min_runtime)
            {
                earlier(at);
            }
            for node in &pool.bursting {
                let node = pool.node(*node);
                if let Some(at) = node.burst.and_then(|burst| node.bursting.next(burst, spec.grace, now)) {
                    earlier(at);
                }
            }
        }
        next
    }

    fn ring(&self, timer: Timer, now: Time, calendar: &dyn Calendar) -> Entry {
        match timer {
            Timer::LeaseEnd(id) => {
                let confirmed = self.leases.get(&id).is_some_and(|record| record.lease.confirmed().is_some());
                Entry::Ended { id, end: if confirmed { End::Expired } else { End::Unconfirmed } }
            }
            Timer::Deadline(id) | Timer::AtOnce(id) => Entry::Ended { id, end: End::Revoked },
            Timer::TicketEnd(id) => Entry::Ended { id, end: End::WaitedTooLong },
            Timer::SilentEnd(id) => Entry::Ended { id, end: End::Silent },
            Timer::Silence(id) => Entry::Silenced { id },
            Timer::BudgetTurn(index, number) => {
                let tenant = &self.tenants[index as usize];
                let (path, budget) = match tenant.as_ref().and_then(|t| Some((t, t.budgets.get(number as usize)?))) {
                    Some((tenant, budget)) => (tenant.spec.path.clone(), &budget.spec),
                    None => unreachable!("a budget's timer goes with the budget"),
                };
                let (started, ends) = calendar.period(budget.period, &budget.time_zone, now);
                // A calendar that does not advance must not stop the ledger.
                let ends = if ends > now { ends } else { now.after(Duration::from_secs(1)) };
                Entry::BudgetTurned { tenant: path, budget: budget.name.clone(), started, ends }
            }
            Timer::MemberEnd(index) => match &self.tenants[index as usize] {
                Some(tenant) => Entry::MemberGone { tenant: tenant.spec.path.clone() },
                None => unreachable!("a member's timer goes with the member"),
            },
        }
    }
}
