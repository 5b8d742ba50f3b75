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
            let (mut control, mut count) = (Some(control), Count::default());
            loop {
                let asked = match control.take() {
                    Some(mut session) => {
                        count.ask(&mut session, server, &place).await.map(|head| (session, head))
                    }
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

/// What was handed over when the server was last asked.
#[derive(Debug, Default)]
struct Count {
    handed: Option<FilePoint>,
    bytes_read: u64,
}

impl Count {
    /// The end of the log, how much lies between it and what was handed over,
    /// and how much was handed over so far.
    async fn ask(
        &mut self,
        control: &mut Control,
        server: u32,
        handed: &watch::Receiver<Option<FilePoint>>,
    ) -> Result<Head> {
        let end = start::end_of_log(control).await?;
        let handed = handed.borrow().clone();
        let bytes_behind = match &handed {
            Some(handed) => between(control, handed, &end).await?,
            None => 0,
        };
        if let Some(handed) = handed {
            if let Some(before) = &self.handed {
                self.bytes_read += between(control, before, &handed).await?;
            }
            self.handed = Some(handed);
        }
        let position = Position::from(&Point::at(Coordinates { server, point: end }));
        Ok(Head { position: Some(position), bytes_behind, bytes_read: Some(self.bytes_read) })
    }
}

/// Bytes of the log from one point to a later one.
async fn between(control: &mut Control, from: &FilePoint, to: &FilePoint) -> Result<u64> {
    if from.file() == to.file() {
        return Ok(to.offset.saturating_sub(from.offset));
    }
    let files = start::files(control).await?;
    let whole = files.iter().filter(|file| (from.number()..to.number()).contains(&file.number()));
    Ok((whole.map(|file| file.offset).sum::<u64>() + to.offset).saturating_sub(from.offset))
}
