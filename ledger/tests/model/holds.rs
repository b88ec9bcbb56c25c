//! Holds: what is freed gathers for whoever has waited longest.

use super::config::{Order, Time};
use super::decide::Asking;
use super::tree::Less;
use super::view::asked_for;
use super::{Event, Hold, Model, Ticket};

/// A ticket that stands at a node.
struct Stander {
    node: usize,
    resources: Vec<String>,
    ticket: String,
}

impl Model {
    /// "nobody who arrived later is admitted who asks, under that node, for a resource that it is
    /// blocked in there, except within the guarantee of their own leaf in that resource." A
    /// resource that the capacity does not name: "nobody passes a hold of it by a guarantee".
    pub(crate) fn is_held(&self, asking: &Asking) -> bool {
        let view = self.actual(&asking.pool);
        let path = view.tree.path(asking.leaf);
        let under = |hold: &Hold| path.iter().any(|node| view.tree.nodes[*node].name == hold.node);
        let mut holds = self.holds.iter().filter(|hold| hold.pool == asking.pool && under(hold));
        holds.any(|hold| {
            let later = self.ticket(&hold.ticket).stood < asking.stood;
            let held = self.blocked_in(hold);
            let mut asked = asked_for(&asking.ask).filter(|r| held.iter().any(|held| held == r));
            later
                && asked.any(|resource| {
                    let own = view.within(asking.leaf, asking.leaf, &asking.ask, [resource]);
                    !(view.tree.is_named(resource) && own)
                })
        })
    }

    /// What its ticket is blocked in just now, there.
    fn blocked_in(&self, hold: &Hold) -> Vec<String> {
        let asking = self.asking_of(self.ticket(&hold.ticket));
        let view = self.actual(&asking.pool);
        let blocked = view.blocked(asking.leaf, &asking.ask, Less::Unavailable);
        let there = blocked.into_iter().find(|blocked| view.tree.nodes[blocked.node].name == hold.node);
        there.map_or_else(Vec::new, |blocked| blocked.resources)
    }

    /// Who has the hold at each node, decided when nobody more can be admitted, so that a hold
    /// survives the moment in which what it waited for has just come free. Answers whether anything
    /// changed.
    ///
    /// "Of those that stand at a node, the longest-waiting (by arrival, whatever the priority) has
    /// its hold". "After hold_for without a break at that node its turn is over, and it goes to the
    /// back of those who stand there, as if it had just arrived." Read as: it still stands there,
    /// and where nobody else does its next turn begins at once; wherever it stands later, it stands
    /// behind those who had arrived until now.
    pub(crate) fn judge_holds(&mut self, pool: &str) -> bool {
        let before: Vec<Hold> = self.holds.iter().filter(|hold| hold.pool == pool).cloned().collect();
        let hold_for = self.pool(pool).hold_for;
        let mut standers = self.stand(pool);
        let over = |since: Time, now: Time| hold_for > 0 && since + hold_for <= now;
        let stands = |hold: &&Hold| standers.iter().any(|stander| self.is_hold_of(hold, stander));
        let turned = before.iter().filter(stands).filter(|hold| over(hold.since, self.now));
        // Turns that end in one instant: whoever had arrived first is as if he had just arrived first.
        let mut turned: Vec<_> = turned.map(|hold| (self.ticket(&hold.ticket).arrived, hold.ticket.clone())).collect();
        turned.sort();
        for (_, id) in &turned {
            let back = self.moment();
            let ticket = self.tickets.iter_mut().find(|ticket| ticket.request.id == *id);
            ticket.expect("a waiting ticket").stood = back;
        }
        let turned = !turned.is_empty();
        let mut after: Vec<Hold> = Vec::new();
        standers.sort_by_key(|stander| (stander.node, self.ticket(&stander.ticket).stood));
        for stander in standers {
            let node = self.tree(pool).nodes[stander.node].name.clone();
            if after.iter().any(|hold| hold.node == node) {
                continue;
            }
            let mut same = before.iter().filter(|hold| self.is_hold_of(hold, &stander)).map(|hold| hold.since);
            let since = same.find(|since| !over(*since, self.now)).unwrap_or(self.now);
            let Stander { resources, ticket, .. } = stander;
            after.push(Hold { pool: pool.to_owned(), node, ticket, resources, since });
        }
        let key = |hold: &Hold| (hold.node.clone(), hold.ticket.clone());
        for hold in before.iter().filter(|hold| !after.iter().any(|other| key(other) == key(hold))) {
            self.note(Event::HoldsNoMore { ticket: hold.ticket.clone(), node: hold.node.clone() });
        }
        for hold in after.iter().filter(|hold| !before.iter().any(|other| key(other) == key(hold))) {
            self.note(Event::Holds { ticket: hold.ticket.clone(), node: hold.node.clone() });
        }
        let what = |hold: &Hold| (key(hold), hold.resources.clone());
        let changed = before.iter().map(what).ne(after.iter().map(what));
        self.holds.retain(|hold| hold.pool != pool);
        self.holds.extend(after);
        changed || turned
    }

    fn is_hold_of(&self, hold: &Hold, stander: &Stander) -> bool {
        let node = &self.tree(&hold.pool).nodes[stander.node].name;
        hold.ticket == stander.ticket && hold.node == *node
    }

    /// "A ticket that has waited hold_after stands at the lowest node where it is blocked."
    fn stand(&self, pool: &str) -> Vec<Stander> {
        let view = self.actual(pool);
        let mut standers = Vec::new();
        for ticket in self.tickets_in_order(pool).into_iter().filter(|ticket| self.may_hold(ticket)) {
            let asking = self.asking_of(ticket);
            let blocked = view.blocked(asking.leaf, &asking.ask, Less::Unavailable);
            if let Some(lowest) = blocked.into_iter().next() {
                let ticket = ticket.request.id.clone();
                standers.push(Stander { node: lowest.node, resources: lowest.resources, ticket });
            }
        }
        standers
    }

    /// "A ticket that could not be admitted just now whatever ended … holds nothing …; one with a
    /// claim, one of weight zero (its own or above) and, under strict, one that is not its tenant's
    /// first do not hold." Read as: in a pool that is paused holds go on.
    fn may_hold(&self, ticket: &Ticket) -> bool {
        let pool = self.pool(&ticket.request.pool);
        let tree = self.tree(&pool.name);
        ticket.arrived.at + pool.hold_after <= self.now
            && !self.is_passed_over(ticket)
            && self.could_be_admitted(ticket)
            && !self.claims.iter().any(|claim| claim.ticket == ticket.request.id)
            && !tree.is_weightless(tree.leaf(&ticket.request.tenant))
            && (pool.order == Order::Backfill || self.is_in_line(ticket))
    }
}
