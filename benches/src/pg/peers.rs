//! Raw readers of others: they hand over the messages of the log as bytes.
//!
//! Each says at once that what it has is applied, so it reads a copy of the
//! slot.

use std::time::Duration;

use clap::ValueEnum;
use pg_walstream::{LogicalReplicationStream, ReplicationStreamConfig, RetryConfig, StreamingMode};
use pgwire_replication::client::ReplicationEvent;
use pgwire_replication::{ReplicationClient, ReplicationConfig, TlsConfig};
use tokio_util::sync::CancellationToken;
use zdm_pg::PgConfig;

use crate::Result;

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// The crate of that name.
    PgwireReplication,
    /// The crate of that name, without its decoder.
    PgWalstream,
}

impl Peer {
    pub(super) const ALL: [Self; 2] = [Self::PgwireReplication, Self::PgWalstream];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PgwireReplication => "pgwire-replication",
            Self::PgWalstream => "pg-walstream",
        }
    }

    /// Reads so many changes.
    ///
    /// # Errors
    /// When it fails, or ends before.
    pub async fn read(self, url: &str, slot: &str, publication: &str, changes: u64) -> Result<()> {
        match self {
            Self::PgwireReplication => pgwire(url, slot, publication, changes).await,
            Self::PgWalstream => walstream(url, slot, publication, changes).await,
        }
    }
}

async fn pgwire(url: &str, slot: &str, publication: &str, changes: u64) -> Result<()> {
    let at = PgConfig::parse(url)?;
    let password = at.password().map_or("", |password| password.expose());
    let config = ReplicationConfig::new(at.host(), at.user(), password, at.dbname(), slot, publication)
        .with_port(at.port())
        .with_tls(TlsConfig::disabled());
    let mut client = ReplicationClient::connect(config).await?;
    let mut seen = 0;
    while seen < changes {
        match client.recv().await?.ok_or("the stream has ended")? {
            ReplicationEvent::XLogData { wal_end, data, .. } => {
                seen += u64::from(is_row(&data));
                client.update_applied_lsn(wal_end);
            }
            ReplicationEvent::Commit { end_lsn, .. } => client.update_applied_lsn(end_lsn),
            _ => {}
        }
    }
    client.shutdown().await?;
    Ok(())
}

async fn walstream(url: &str, slot: &str, publication: &str, changes: u64) -> Result<()> {
    let second = Duration::from_secs(1);
    let config = ReplicationStreamConfig::new(
        slot.to_owned(),
        publication.to_owned(),
        1,
        StreamingMode::Off,
        second,
        30 * second,
        60 * second,
        RetryConfig::default(),
    );
    let url = format!("{url}{}replication=database", if url.contains('?') { '&' } else { '?' });
    let mut stream = LogicalReplicationStream::new(&url, config).await?;
    stream.start(None).await?;
    let (cancel, mut seen) = (CancellationToken::new(), 0);
    while seen < changes {
        let raw = stream.next_raw_event(&cancel).await?;
        seen += u64::from(is_row(&raw.data));
        stream.shared_lsn_feedback.update_applied_lsn(raw.wal_end.value());
    }
    stream.stop().await?;
    Ok(())
}

fn is_row(message: &[u8]) -> bool {
    matches!(message.first(), Some(b'I' | b'U' | b'D'))
}
