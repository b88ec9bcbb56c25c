//! The timer: what follows from time alone is posted when it is due, though nobody asks.

use std::sync::Arc;

use headgate_ledger::Time;

use super::cell::Cell;
use super::writer::Standing;

/// Wakes up when something is due, until it is over. Waking up for nothing does nothing.
pub(super) async fn run(cell: Arc<Cell>) {
    while let Some(at) = ring(&cell) {
        tokio::select! {
            () = cell.clock.sleep_until(at) => {}
            () = cell.timer.notified() => {}
        }
    }
}

/// Posts what is due; until when to sleep, or none when it is over.
fn ring(cell: &Cell) -> Option<Time> {
    let mut writer = cell.writer.lock();
    match &writer.standing {
        Standing::Over(_) => return None,
        // Time does not count while nobody can renew; the committer wakes the timer.
        Standing::Down(_) => return Some(Time::NEVER),
        Standing::Serving => {}
    }
    if writer.log.unjournaled >= cell.settings.journal_buffer_bytes_max {
        writer.timer_waits = true;
        return Some(Time::NEVER);
    }
    let before = writer.log.posted;
    writer.catch_up(&*cell.clock, &*cell.calendar);
    let at = writer.arm();
    cell.leave(writer, before);
    Some(at)
}
