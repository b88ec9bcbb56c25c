//! Ctrl-C: the run ends early, and what it took is given back. A second time, the process ends at once.

use crate::drive::fleet::Stop;
use crate::fault::Fault;

/// Listens for it from now on.
pub(crate) fn listen(stop: &Stop) -> Result<(), Fault> {
    let refuse = |error: std::io::Error| Fault::Failed(format!("interrupts cannot be listened for: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refuse)?;
    let stop = stop.clone();
    let listening = move || {
        runtime.block_on(async {
            if signalled().await.is_err() {
                return;
            }
            eprintln!("headgate-loadtest: interrupted; what was taken is given back (once more, and it is not)");
            stop.ask();
            if signalled().await.is_ok() {
                std::process::exit(130);
            }
        });
    };
    std::thread::Builder::new().name("interrupts".to_owned()).spawn(listening).map_err(refuse)?;
    Ok(())
}

async fn signalled() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        done = tokio::signal::ctrl_c() => done,
        _ = terminated.recv() => Ok(()),
    }
}
