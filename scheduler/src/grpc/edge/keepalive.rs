//! Whether a silent connection is alive.

use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::listen::Heard;

/// How often it is looked whether anything has come.
const LOOK: Duration = Duration::from_secs(10);
/// After so many looks without anything it is asked whether it lives,
const ASKED_AFTER: u32 = 3;
/// and after so many it has not answered.
const GONE_AFTER: u32 = 4;

/// Looks after one connection.
#[derive(Debug)]
pub(super) struct KeepAlive {
    looks: Interval,
    heard: Heard,
    mark: u64,
    silent: u32,
    pings: Option<PingPong>,
}

impl KeepAlive {
    pub(super) fn new(heard: Heard, pings: Option<PingPong>) -> Self {
        let mut looks = tokio::time::interval_at(Instant::now() + LOOK, LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { looks, mark: heard.mark(), heard, silent: 0, pings }
    }

    /// Ready when nobody is at the other end any more.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.looks.poll_tick(context).is_ready() {
            let mark = self.heard.mark();
            self.silent = if mark == self.mark { self.silent + 1 } else { 0 };
            self.mark = mark;
            match self.silent {
                ASKED_AFTER => self.ask(context),
                GONE_AFTER.. => return Poll::Ready(()),
                0..ASKED_AFTER => {}
            }
        }
        Poll::Pending
    }

    fn ask(&mut self, context: &mut Context<'_>) {
        let Some(pings) = &mut self.pings else { return };
        // An answer that came is taken back first, or another cannot be asked for. Where the connection has ended,
        // that is found out by who reads from it.
        let _ = pings.poll_pong(context);
        let _ = pings.send_ping(Ping::opaque());
    }
}
