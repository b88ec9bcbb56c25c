//! The terminal, while a command in a process group of its own runs in front of it.

use std::io::{self, IsTerminal as _};

use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};
use tokio::signal::unix::{SignalKind, signal};

/// The terminal is another process group's, until this is dropped. Nothing where there is no terminal, or it was not
/// ours to give.
#[derive(Debug)]
pub(super) struct Foreground(Option<Pid>);

impl Foreground {
    /// Lets a process group read from the terminal and be interrupted from it.
    pub(super) fn hand_over(to: Pid) -> Self {
        let input = io::stdin();
        let ours = input.is_terminal() && tcgetpgrp(&input).is_ok_and(|group| group == getpgrp());
        if !ours || tcsetpgrp(&input, to).is_err() {
            return Self(None);
        }
        let _ = killpg(to, Signal::SIGCONT); // it may have been stopped for reading before it was its turn
        Self(Some(to))
    }

    /// Returns when the process group was suspended from the terminal, and has been continued: nobody else would.
    pub(super) async fn continued(&self) {
        let (Some(group), Ok(mut children)) = (self.0, signal(SignalKind::child())) else {
            return std::future::pending().await;
        };
        loop {
            let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG;
            if let Ok(WaitStatus::Stopped(..)) = waitid(Id::Pid(group), flags) {
                let _ = killpg(group, Signal::SIGCONT); // it has just ended
                return;
            }
            if children.recv().await.is_none() {
                return std::future::pending().await;
            }
        }
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        if self.0.is_some() {
            // Who asks for the terminal from behind is stopped, unless that signal is blocked.
            let mut stop = SigSet::empty();
            stop.add(Signal::SIGTTOU);
            let blocked = stop.thread_block();
            let _ = tcsetpgrp(io::stdin(), getpgrp()); // a terminal that has gone needs nothing
            if blocked.is_ok() {
                let _ = stop.thread_unblock();
            }
        }
    }
}
