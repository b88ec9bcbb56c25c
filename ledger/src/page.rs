//! The claims that bear on one resource at one node, in their order.
//!
//! In a claim's plan a node holds what it holds now, and so much more or less by the claims up to this one and the
//! victims that it counts on: the claim's *change*. It stands there as long as what is held now and its change stay
//! within a *bound*. A change of what is held now moves all alike; so what is kept is how much each leaves, in blocks with
//! their least, and what holds for all that come later in the order, or count on a victim, is added block by block.

use crate::reclaim::ClaimKey;

/// Claims in a block; with ten thousand claims there are about as many blocks as claims in each.
const BLOCK_MAX: usize = 128;
/// More than any slack.
pub(crate) const NO_BOUND: i64 = i64::MAX / 2;

/// One claim on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) key: ClaimKey,
    /// What its ticket asks for.
    pub(crate) ask: i64,
    /// Its victims have smaller numbers.
    pub(crate) counts_on: u64,
    /// What may be held in its plan.
    pub(crate) bound: i64,
    /// What its plan holds more than is held now.
    pub(crate) change: i64,
}

#[derive(Clone, Debug)]
struct Block {
    lines: Vec<Line>,
    /// To be added to the change of every line.
    shift: i64,
    /// The least that a line leaves: its bound less its change, without the shift.
    slack: i64,
    /// The sum of what is asked for, and the most.
    asks: i64,
    largest: i64,
    /// The least and the most that a line counts on.
    counts_on: (u64, u64),
}

impl Block {
    fn new(lines: Vec<Line>, shift: i64) -> Self {
        let mut block = Self { lines, shift, slack: NO_BOUND, asks: 0, largest: 0, counts_on: (u64::MAX, 0) };
        block.sum_up();
        block
    }

    fn sum_up(&mut self) {
        (self.slack, self.asks, self.largest, self.counts_on) = (NO_BOUND, 0, 0, (u64::MAX, 0));
        for line in &self.lines {
            self.slack = self.slack.min(line.bound - line.change);
            self.asks += line.ask;
            self.largest = self.largest.max(line.ask);
            self.counts_on = (self.counts_on.0.min(line.counts_on), self.counts_on.1.max(line.counts_on));
        }
    }
}

/// One resource at one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    blocks: Vec<Block>,
}

impl Page {
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The block that a claim is in, or would be.
    fn block_of(&self, key: ClaimKey) -> usize {
        let after = self.blocks.partition_point(|block| block.lines.first().is_some_and(|line| line.key <= key));
        after.saturating_sub(1)
    }

    /// Takes in a claim; what those after it hold in their plans grows by what it asks for.
    pub(crate) fn insert(&mut self, mut line: Line) {
        if self.blocks.is_empty() {
            self.blocks.push(Block::new(vec![line], 0));
            return;
        }
        let at = self.block_of(line.key);
        let block = &mut self.blocks[at];
        let place = block.lines.partition_point(|other| other.key < line.key);
        line.change -= block.shift;
        block.lines.iter_mut().skip(place).for_each(|later| later.change += line.ask);
        block.lines.insert(place, line);
        if block.lines.len() > BLOCK_MAX {
            let upper = block.lines.split_off(BLOCK_MAX / 2);
            let shift = block.shift;
            block.sum_up();
            self.blocks.insert(at + 1, Block::new(upper, shift));
            self.blocks.iter_mut().skip(at + 2).for_each(|later| later.shift += line.ask);
        } else {
            block.sum_up();
            self.blocks.iter_mut().skip(at + 1).for_each(|later| later.shift += line.ask);
        }
    }

    /// Takes out a claim.
    pub(crate) fn remove(&mut self, key: ClaimKey) {
        let at = self.block_of(key);
        let Some(block) = self.blocks.get_mut(at) else { return };
        let Ok(place) = block.lines.binary_search_by_key(&key, |line| line.key) else { return };
        let line = block.lines.remove(place);
        block.lines.iter_mut().skip(place).for_each(|later| later.change -= line.ask);
        block.sum_up();
        self.blocks.iter_mut().skip(at + 1).for_each(|later| later.shift -= line.ask);
        if self.blocks[at].lines.is_empty() {
            self.blocks.remove(at);
        }
    }

    /// Changes what a claim counts on, its bound and its change.
    pub(crate) fn replace(&mut self, line: Line) {
        let at = self.block_of(line.key);
        let Some(block) = self.blocks.get_mut(at) else { return };
        if let Ok(place) = block.lines.binary_search_by_key(&line.key, |line| line.key) {
            block.lines[place] = Line { change: line.change - block.shift, ..line };
            block.sum_up();
        }
    }

    /// A claim's line.
    pub(crate) fn line(&self, key: ClaimKey) -> Option<Line> {
        let block = self.blocks.get(self.block_of(key))?;
        let place = block.lines.binary_search_by_key(&key, |line| line.key).ok()?;
        Some(Line { change: block.lines[place].change + block.shift, ..block.lines[place] })
    }

    /// What the claims before one ask for.
    pub(crate) fn asks_before(&self, key: ClaimKey) -> i64 {
        let at = self.block_of(key);
        let blocks: i64 = self.blocks.iter().take(at).map(|block| block.asks).sum();
        let lines = self.blocks.get(at).into_iter().flat_map(|block| &block.lines);
        blocks + lines.take_while(|line| line.key < key).map(|line| line.ask).sum::<i64>()
    }

    /// What all claims ask for.
    pub(crate) fn asks(&self) -> i64 {
        self.blocks.iter().map(|block| block.asks).sum()
    }

    /// A victim is not gone from the plans of those that count on it any more, or so much less.
    pub(crate) fn put_back(&mut self, victim: u64, amount: i64) {
        for block in &mut self.blocks {
            if block.counts_on.0 > victim {
                block.shift += amount;
            } else if block.counts_on.1 > victim {
                let counting = block.lines.iter_mut().filter(|line| line.counts_on > victim);
                counting.for_each(|line| line.change += amount);
                block.sum_up();
            }
        }
    }

    /// The most that may be held now.
    pub(crate) fn slack(&self) -> i64 {
        self.blocks.iter().map(|block| block.slack - block.shift).min().unwrap_or(NO_BOUND)
    }

    /// The most that may be held now for those to stand that count on a victim.
    pub(crate) fn slack_counting(&self, victim: u64) -> i64 {
        let mut least = NO_BOUND;
        for block in &self.blocks {
            // A block cannot say less than its least line.
            if block.counts_on.1 <= victim || block.slack - block.shift >= least {
                continue;
            }
            if block.counts_on.0 > victim {
                least = block.slack - block.shift;
            } else {
                let counting = block.lines.iter().filter(|line| line.counts_on > victim);
                let slack = counting.map(|line| line.bound - line.change).min().unwrap_or(NO_BOUND);
                least = least.min(slack - block.shift);
            }
        }
        least
    }

    /// The nearest claim before one that asks for more than there is room for, and what it asks for.
    pub(crate) fn blocked_before(&self, key: ClaimKey, room: i64) -> Option<(ClaimKey, i64)> {
        let at = self.block_of(key);
        let blocks = self.blocks.get(..=at.min(self.blocks.len().checked_sub(1)?))?;
        let blocks = blocks.iter().rev().filter(|block| block.largest > room);
        let mut lines = blocks.flat_map(|block| block.lines.iter().rev());
        lines.find(|line| line.key < key && line.ask > room).map(|line| (line.key, line.ask))
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, NO_BOUND, Page};
    use crate::reclaim::ClaimKey;

    /// The same, line by line.
    #[derive(Default)]
    struct Plain(Vec<Line>);

    impl Plain {
        fn insert(&mut self, line: Line) {
            let place = self.0.partition_point(|other| other.key < line.key);
            self.0.iter_mut().skip(place).for_each(|later| later.change += line.ask);
            self.0.insert(place, line);
        }

        fn remove(&mut self, key: ClaimKey) {
            if let Some(place) = self.0.iter().position(|line| line.key == key) {
                let line = self.0.remove(place);
                self.0.iter_mut().skip(place).for_each(|later| later.change -= line.ask);
            }
        }

        fn slack(&self, victim: Option<u64>) -> i64 {
            let counting = self.0.iter().filter(|line| victim.is_none_or(|victim| line.counts_on > victim));
            counting.map(|line| line.bound - line.change).min().unwrap_or(NO_BOUND)
        }
    }

    fn random(state: &mut u64, below: u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % below
    }

    #[test]
    fn blocks_say_what_lines_say() {
        let mut state = 0x5eed;
        let (mut page, mut plain) = (Page::default(), Plain::default());
        let mut made = 0;
        for _ in 0..4_000 {
            let key = ClaimKey { borrower: random(&mut state, 3) > 0, made: random(&mut state, made + 1) };
            match random(&mut state, 10) {
                0..5 => {
                    let key = ClaimKey { made, ..key };
                    let line = Line {
                        key,
                        ask: random(&mut state, 9) as i64 + 1,
                        counts_on: if random(&mut state, 9) == 0 { random(&mut state, made + 1) } else { made },
                        bound: random(&mut state, 1000) as i64,
                        change: page.asks_before(key),
                    };
                    made += 1;
                    page.insert(line);
                    plain.insert(line);
                }
                5..8 => {
                    page.remove(key);
                    plain.remove(key);
                }
                8 => {
                    let (victim, amount) = (random(&mut state, made + 1), random(&mut state, 20) as i64);
                    page.put_back(victim, amount);
                    plain.0.iter_mut().filter(|line| line.counts_on > victim).for_each(|line| line.change += amount);
                }
                _ => {
                    if let Some(line) = page.line(key) {
                        let line = Line { counts_on: made, change: line.change - 3, ..line };
                        page.replace(line);
                        plain.0.iter_mut().filter(|other| other.key == key).for_each(|other| *other = line);
                    }
                }
            }
            assert_eq!(page.line(key), plain.0.iter().find(|line| line.key == key).copied());
            assert_eq!(page.slack(), plain.slack(None));
            let (victim, room) = (random(&mut state, made + 1), random(&mut state, 9) as i64);
            assert_eq!(page.slack_counting(victim), plain.slack(Some(victim)));
            let before = |line: &&Line| line.key < key;
            assert_eq!(page.asks_before(key), plain.0.iter().filter(before).map(|line| line.ask).sum::<i64>());
            assert_eq!(page.asks(), plain.0.iter().map(|line| line.ask).sum::<i64>());
            let blocked = plain.0.iter().rev().find(|line| line.key < key && line.ask > room);
            assert_eq!(page.blocked_before(key, room), blocked.map(|line| (line.key, line.ask)));
            assert_eq!(page.is_empty(), plain.0.is_empty());
        }
        assert!(plain.0.len() > 300, "{}", plain.0.len());
    }
}
