//! Asking for the log: where it begins, in each server's way.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication.html>,
//! <https://mariadb.com/docs/server/reference/clientserver-protocol/replication-protocol>

use std::time::Duration;

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncWrite};
use zdm_core::{Error, ErrorKind, Result};

use super::connection::Connection;
use crate::position::{Domains, FilePoint, GtidSet};

const COM_BINLOG_DUMP: u8 = 0x12;
const COM_REGISTER_SLAVE: u8 = 0x15;
const COM_BINLOG_DUMP_GTID: u8 = 0x1e;
/// Behind the four bytes that every file begins with.
const FIRST: u8 = 4;
/// How long the server waits, in seconds, while we take nothing from the
/// socket: a slow target is no reason to end the stream. A host that has
/// vanished is found by TCP.
const PATIENCE: u32 = 86_400;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Under which id we read: every reader and replica has its own.
    pub(crate) server_id: u32,
    /// How often the server says that it lives while its log is silent.
    pub(crate) heartbeat: Duration,
    pub(crate) from: From,
}

/// Where the log shall begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    /// MySQL: with every transaction that is not in this set.
    Set(GtidSet),
    /// MariaDB: behind these transactions.
    Domains(Domains),
    /// Either: at that byte of that file.
    File(FilePoint),
}

impl Request {
    /// Says what the session must know before the log is asked for. Variables
    /// of the user may have any name, so each server gets both servers' words.
    pub(super) async fn settle<S>(&self, connection: &mut Connection<S>) -> Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let beat = self.heartbeat.as_nanos();
        let mut statements = vec![
            format!("SET SESSION net_write_timeout = {PATIENCE}"),
            // The name was changed in 8.0.26. Told nothing, the server would
            // have to leave the checksums out.
            "SET @master_binlog_checksum = @@global.binlog_checksum, \
             @source_binlog_checksum = @@global.binlog_checksum"
                .to_owned(),
            format!("SET @master_heartbeat_period = {beat}, @source_heartbeat_period = {beat}"),
            // 4: GTIDs are understood, and holes in the log.
            "SET @mariadb_slave_capability = 4".to_owned(),
        ];
        if let From::Domains(domains) = &self.from {
            // Digits, `-` and `,` only. Strict: a transaction that is not in
            // the log is an error, not a place somewhere near it.
            statements.push(format!(
                "SET @slave_connect_state = '{}', @slave_gtid_strict_mode = 1, @slave_gtid_ignore_duplicates = 0",
                domains.position()
            ));
        }
        for statement in statements {
            connection.query(&statement).await?;
        }
        connection.command(&self.register()).await
    }

    /// `COM_REGISTER_SLAVE`: shows us in `SHOW REPLICAS`.
    fn register(&self) -> Vec<u8> {
        let mut packet = vec![COM_REGISTER_SLAVE];
        packet.put_u32_le(self.server_id);
        // Host, user, password, port, rank, the source's id: none to tell.
        packet.put_bytes(0, 3 + 2 + 4 + 4);
        packet
    }

    /// The command that starts the dump.
    ///
    /// # Errors
    /// `Unsupported` for a place that the command has no room for.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let mut packet = Vec::new();
        match &self.from {
            From::Set(set) => {
                let mut encoded = Vec::new();
                set.encode(&mut encoded);
                let length = u32::try_from(encoded.len());
                packet.put_u8(COM_BINLOG_DUMP_GTID);
                packet.put_u16_le(0);
                packet.put_u32_le(self.server_id);
                packet.put_u32_le(0); // no file's name
                packet.put_u64_le(FIRST.into());
                packet.put_u32_le(length.map_err(|_| too_far("the gtid set is too large"))?);
                packet.extend_from_slice(&encoded);
            }
            From::Domains(_) => self.by_file(FIRST.into(), "", &mut packet),
            From::File(point) => {
                let offset = u32::try_from(point.offset).map_err(|_| {
                    too_far("the point lies beyond 4 GiB of its file, where no dump can begin without gtids")
                })?;
                self.by_file(offset.max(FIRST.into()), point.file(), &mut packet);
            }
        }
        Ok(packet)
    }

    fn by_file(&self, offset: u32, file: &str, packet: &mut Vec<u8>) {
        packet.put_u8(COM_BINLOG_DUMP);
        packet.put_u32_le(offset);
        packet.put_u16_le(0);
        packet.put_u32_le(self.server_id);
        packet.extend_from_slice(file.as_bytes());
    }
}

fn too_far(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what}: start the run anew")).during("wire.dump")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(from: From) -> Vec<u8> {
        Request { server_id: 0x0102, heartbeat: Duration::from_secs(1), from }.encode().unwrap()
    }

    #[test]
    fn each_server_is_asked_in_its_way() {
        let set = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".parse().unwrap();
        let packet = encode(From::Set(set));
        assert_eq!(packet[..7], [0x1e, 0, 0, 2, 1, 0, 0]);
        assert_eq!(packet[7..23], [0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 48, 0, 0, 0]);
        assert_eq!(packet.len(), 23 + 48);
        let file = "binlog.000012:4711".parse().unwrap();
        assert_eq!(encode(From::File(file)), b"\x12\x67\x12\0\0\0\0\x02\x01\0\0binlog.000012");
        assert_eq!(encode(From::Domains(Domains::default())), [0x12, 4, 0, 0, 0, 0, 0, 2, 1, 0, 0]);
    }

    #[test]
    fn a_point_that_the_command_cannot_name_is_refused() {
        let file = "binlog.000012:4294967296".parse().unwrap();
        let request = Request { server_id: 1, heartbeat: Duration::ZERO, from: From::File(file) };
        assert_eq!(request.encode().unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
