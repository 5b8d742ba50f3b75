//! SIGINT and SIGTERM end a run at a durable position.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use zdm_core::{Error, ErrorKind, Result};

/// A token that the first SIGINT or SIGTERM cancels. The second ends the
/// process at once; the same command resumes.
pub(crate) fn token() -> Result<CancellationToken> {
    let token = CancellationToken::new();
    let failed = |error| Error::new(ErrorKind::Other, "cannot listen for signals").caused_by(error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let cancel = token.clone();
    tokio::spawn(async move {
        for again in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if again {
                std::process::exit(130);
            }
            cancel.cancel();
        }
    });
    Ok(token)
}
