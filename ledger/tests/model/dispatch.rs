//! Dispatch: who of those that wait is admitted next, until nobody can be.

use super::decide::Asking;
use super::post::Admission;
use super::share::Share;
use super::tree::ROOT;
use super::{Model, Place, Ticket};

/// More rounds than this in one instant is a loop in the rules.
const ROUNDS: usize = 10_000;

impl Model {
    /// Everything that is due at once: who can be admitted is, then what falls on this very instant
    /// because of it (notice may be none), until nothing more does.
    pub(crate) fn settle(&mut self) {
        for _ in 0..ROUNDS {
            let before = self.log.len();
            for pool in self.pool_names() {
                self.dispatch(&pool);
            }
            // What one pool admits may use up a budget that somebody waits for in another.
            if self.log.len() == before && !self.lapse() {
                return;
            }
        }
        panic!("what is due at once never ends");
    }

    pub(crate) fn pool_names(&self) -> Vec<String> {
        self.config.pools.iter().map(|pool| pool.name.clone()).collect()
    }

    /// "After anything that changes the ledger, and when time passes something that a rule names,
    /// tickets are admitted until none can be … Before anybody is admitted who would borrow at its
    /// leaf, and when nobody more can be admitted, every ticket that may claim claims."
    fn dispatch(&mut self, pool: &str) {
        for _ in 0..ROUNDS {
            self.judge_claims(pool);
            self.let_off(pool);
            let next = self.next(pool);
            let borrows = next.as_ref().is_none_or(|id| self.borrows_at_leaf(&self.asking_of(self.ticket(id))));
            if borrows && self.first_that_may_claims(pool) {
                continue;
            }
            if let Some(id) = next {
                self.admit_ticket(&id);
            } else if !self.judge_holds(pool) {
                return;
            }
        }
        panic!("dispatch never ends");
    }

    fn admit_ticket(&mut self, id: &str) {
        let ticket = self.take_ticket(id);
        self.admit(&ticket.request, ticket.arrived, Admission::FromQueue { stood: ticket.stood });
    }

    /// "in the order of tickets"
    fn first_that_may_claims(&mut self, pool: &str) -> bool {
        let ids: Vec<String> = self.tickets_in_order(pool).iter().map(|ticket| ticket.request.id.clone()).collect();
        ids.iter().any(|id| self.try_to_claim(id))
    }

    /// "first those that have a claim, in the order of claims; then those that have a hold; then,
    /// found from the root down". Read as: holders by how long they have waited.
    fn next(&self, pool: &str) -> Option<String> {
        let claims = self.claims_in_order(pool).into_iter().map(|claim| claim.ticket.clone());
        let mut holders: Vec<&Ticket> =
            self.holds.iter().filter(|hold| hold.pool == pool).map(|hold| self.ticket(&hold.ticket)).collect();
        holders.sort_by_key(|ticket| ticket.stood);
        let holders = holders.into_iter().map(|ticket| ticket.request.id.clone());
        let first = claims.chain(holders).find(|id| self.can_be_admitted(self.ticket(id)));
        first.or_else(|| self.put_forward(pool, ROOT))
    }

    pub(crate) fn can_be_admitted(&self, ticket: &Ticket) -> bool {
        !self.is_passed_over(ticket) && self.against(&self.asking_of(ticket)).is_none()
    }

    /// "among children with tickets that can be admitted just now, each represented by the one it
    /// would put forward (a leaf: the first of them …)"
    fn put_forward(&self, pool: &str, node: usize) -> Option<String> {
        let tree = self.tree(pool);
        if tree.is_leaf(node) && node != ROOT {
            let of_leaf = |ticket: &&&Ticket| tree.leaf(&ticket.request.tenant) == node;
            let queued = self.tickets_in_order(pool);
            let first = queued.iter().filter(of_leaf).find(|ticket| self.can_be_admitted(ticket))?;
            return Some(first.request.id.clone());
        }
        let children = tree.nodes[node].children.iter();
        let forward = children.filter_map(|child| Some((*child, self.put_forward(pool, *child)?)));
        forward.min_by_key(|(child, id)| self.turn_of(pool, *child, id)).map(|(_, id)| id)
    }

    /// First "one whose ticket stays within the child's guarantee, in all it asks for, before one
    /// whose ticket would borrow", then "weight above zero before weight zero", then "the smaller
    /// weighted dominant share …, before the allocation", then "the ticket that comes first".
    fn turn_of(&self, pool: &str, child: usize, id: &str) -> (bool, bool, Share, Place) {
        let view = self.actual(pool);
        let Asking { leaf, ask, place, .. } = self.asking_of(self.ticket(id));
        let borrows = !view.within_in_all(child, leaf, &ask);
        let share = view.share(child, self.pool(pool).share_of);
        (borrows, view.tree.nodes[child].weight == 0, share, place)
    }
}
