//! How far the stream is behind the end of the log.
//!
//! The log itself does not tell its end, so the server is asked, over a
//! session of its own: nobody waits for the answer. Until it has come once,
//! [`Head::position`] is unknown.
//!
//! Bytes are those of the server's whole log, of databases that are not moved
//! too: all of it must be read to come to its end. What they come to at the
//! target is mostly less, and never more than they say.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use zdm_core::connect::Head;
use zdm_core::{Position, Result};

use super::start;
use crate::config::MySqlConfig;
use crate::connect::Control;
use crate::position::{Coordinates, FilePoint, Point};

/// How often the server is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long to leave a server alone that did not answer.
const PAUSE: Duration = Duration::from_secs(10);

/// Asks the server for the end of its log until it is dropped.
#[derive(Debug)]
pub(super) struct Poller {
    task: JoinHandle<()>,
    handed: watch::Sender<Option<FilePoint>>,
}

impl Poller {
    pub(super) fn start(
        config: Arc<MySqlConfig>,
        control: Control,
        server: u32,
    ) -> (Self, watch::Receiver<Head>) {
        let (head, receiver) = watch::channel(Head::default());
        let (handed, place) = watch::channel(None);
        let task = tokio::spawn(async move {
            let mut control = Some(control);
            loop {
                let asked = match control.take() {
                    Some(mut session) => ask(&mut session, server, &place).await.map(|head| (session, head)),
                    None => match Control::connect(&config, "head").await {
                        Ok(session) => {
                            control = Some(session);
                            continue;
                        }
                        Err(error) => Err(error),
                    },
                };
                match asked {
                    Ok((session, now)) => {
                        control = Some(session);
                        head.send_if_modified(|head| std::mem::replace(head, now.clone()) != now);
                        tokio::time::sleep(INTERVAL).await;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "cannot ask for the end of the log");
                        // Somebody may wait for the first answer.
                        let known = head.borrow().position.is_some();
                        tokio::time::sleep(if known { PAUSE } else { INTERVAL }).await;
                    }
                }
            }
        });
        (Self { task, handed }, receiver)
    }

    /// Everything up to here was handed over.
    pub(super) fn handed_over(&self, place: Option<&FilePoint>) {
        self.handed.send_replace(place.cloned());
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The end of the log, and how much lies between it and what was handed over.
async fn ask(
    control: &mut Control,
    server: u32,
    handed: &watch::Receiver<Option<FilePoint>>,
) -> Result<Head> {
    let end = start::end_of_log(control).await?;
    let handed = handed.borrow().clone();
    let bytes_behind = match handed {
        Some(handed) if handed.file() == end.file() => end.offset.saturating_sub(handed.offset),
        Some(handed) => {
            let files = start::files(control).await?;
            let between =
                files.iter().filter(|file| (handed.number()..end.number()).contains(&file.number()));
            (between.map(|file| file.offset).sum::<u64>() + end.offset).saturating_sub(handed.offset)
        }
        None => 0,
    };
    let position = Position::from(&Point::at(Coordinates { server, point: end }));
    Ok(Head { position: Some(position), bytes_behind })
}
