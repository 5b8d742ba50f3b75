//! A server for tests: what it says is written down beforehand.

use bytes::BufMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::config::MySqlConfig;

/// The first packet of MySQL 8.4, which has everything on.
pub(super) const GREETING: &[u8] =
    b"\x0a8.4.0\0\x07\0\0\0abcdefgh\0\xff\xff\xff\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0\
    123456789012\0caching_sha2_password\0";

/// The server's end of a connection.
pub(super) struct Server {
    pub(super) stream: DuplexStream,
    sequence: u8,
}

/// A server, and the stream that leads to it.
pub(super) fn server() -> (Server, DuplexStream) {
    let (stream, client) = tokio::io::duplex(1 << 20);
    (Server { stream, sequence: 0 }, client)
}

pub(super) fn config() -> MySqlConfig {
    MySqlConfig::parse("mysql://me:secret@h").unwrap()
}

impl Server {
    pub(super) async fn send(&mut self, payload: &[u8]) {
        self.stream.write_all(&packet(self.sequence, payload)).await.unwrap();
        self.sequence = self.sequence.wrapping_add(1);
    }

    pub(super) async fn receive(&mut self) -> Vec<u8> {
        let length = self.stream.read_uint_le(3).await.unwrap();
        self.sequence = self.stream.read_u8().await.unwrap().wrapping_add(1);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await.unwrap();
        payload
    }

    /// Greets, takes any answer, and lets in.
    pub(super) async fn let_in(&mut self) {
        self.send(GREETING).await;
        self.receive().await;
        self.send(&[0, 0, 0, 2, 0, 0, 0]).await;
    }
}

/// `AsyncReadExt` has no numbers of three bytes.
trait ReadUint {
    async fn read_uint_le(&mut self, bytes: usize) -> std::io::Result<u64>;
}

impl ReadUint for DuplexStream {
    async fn read_uint_le(&mut self, bytes: usize) -> std::io::Result<u64> {
        let mut all = [0; 8];
        self.read_exact(&mut all[..bytes]).await?;
        Ok(u64::from_le_bytes(all))
    }
}

/// One packet; the payload must fit.
pub(super) fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(payload.len() + 4);
    packet.put_uint_le(payload.len() as u64, 3);
    packet.put_u8(sequence);
    packet.extend_from_slice(payload);
    packet
}

/// A payload in as many packets as it needs.
pub(super) fn packets(payload: &[u8]) -> Vec<u8> {
    let mut all: Vec<u8> =
        (0..).zip(payload.chunks(0x00ff_ffff)).flat_map(|(n, piece)| packet(n, piece)).collect();
    if payload.len().is_multiple_of(0x00ff_ffff) {
        all.extend_from_slice(&packet(0, &[]));
    }
    all
}
