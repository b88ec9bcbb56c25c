//! Ctrl-C: the run ends early, and what it took is given back. A second time, the process ends at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::drive::fleet::Stop;
use crate::fault::Fault;

/// Listens for it from now on.
pub(crate) fn listen(stop: &Stop) -> Result<(), Fault> {
    let refuse = |error: std::io::Error| Fault::Failed(format!("interrupts cannot be listened for: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refuse)?;
    // From here on nothing is lost, though nobody waits for it yet.
    let mut signals = runtime.block_on(async { Signals::new() }).map_err(refuse)?;
    let stop = stop.clone();
    let listening = move || {
        runtime.block_on(async {
            signals.next().await;
            eprintln!("headgate-loadtest: interrupted; what was taken is given back (once more, and it is not)");
            stop.ask();
            signals.next().await;
            std::process::exit(130);
        });
    };
    std::thread::Builder::new().name("interrupts".to_owned()).spawn(listening).map_err(refuse)?;
    Ok(())
}

/// What asks a process to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
