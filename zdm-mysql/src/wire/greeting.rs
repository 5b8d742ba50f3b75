//! What the server says first, and what we answer.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets.html>,
//! <https://mariadb.com/docs/server/reference/clientserver-protocol/1-connecting/connection>

use bytes::BufMut;
use zdm_core::Result;

use super::reader::Reader;
use crate::config::{Compression, MySqlConfig};
use crate::error;

/// Capabilities of the protocol, as both sides announce them.
mod capability {
    pub(super) const LONG_PASSWORD: u32 = 1;
    pub(super) const LONG_FLAG: u32 = 1 << 2;
    pub(super) const CONNECT_WITH_DB: u32 = 1 << 3;
    pub(super) const COMPRESS: u32 = 1 << 5;
    pub(super) const PROTOCOL_41: u32 = 1 << 9;
    pub(super) const SSL: u32 = 1 << 11;
    pub(super) const TRANSACTIONS: u32 = 1 << 13;
    pub(super) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(super) const PLUGIN_AUTH: u32 = 1 << 19;
    pub(super) const CONNECT_ATTRS: u32 = 1 << 20;
    pub(super) const PLUGIN_AUTH_LENENC: u32 = 1 << 21;
    pub(super) const ZSTD: u32 = 1 << 26;
}

/// `utf8mb4_general_ci`, which both servers have in every version.
const UTF8MB4: u8 = 45;
/// How hard the server shall try, from 1 to 22, as its own clients ask by
/// default.
const ZSTD_LEVEL: u8 = 3;
/// The largest packet that we are ready to read: the protocol's own limit.
const MAX_PACKET: u32 = 1 << 30;

/// The first packet of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    /// As the server writes it; MariaDB's name is in it.
    pub(super) version: String,
    pub(super) connection_id: u32,
    capabilities: u32,
    /// What proofs of the password are made with.
    pub(super) nonce: Vec<u8>,
    /// The plugin that the server would like.
    pub(super) plugin: String,
}

fn bit(compression: Compression) -> u32 {
    match compression {
        Compression::Zlib => capability::COMPRESS,
        Compression::Zstd => capability::ZSTD,
    }
}

impl Greeting {
    /// Reads `HandshakeV10`.
    pub(super) fn read(packet: &[u8]) -> Result<Self> {
        let mut packet = Reader::new(packet);
        if packet.u8()? != 10 {
            return Err(error::protocol(
                "the server does not greet as MySQL or MariaDB does: check host and port",
            ));
        }
        let version = text(packet.until_zero()?);
        let connection_id = packet.u32()?;
        let mut nonce = packet.bytes(8)?.to_vec();
        packet.skip(1)?;
        let lower = packet.u16()?;
        packet.skip(3)?; // character set and status
        let upper = packet.u16()?;
        let capabilities = u32::from(upper) << 16 | u32::from(lower);
        let length = usize::from(packet.u8()?);
        packet.skip(10)?;
        let needed = capability::PROTOCOL_41 | capability::SECURE_CONNECTION | capability::PLUGIN_AUTH;
        if capabilities & needed != needed {
            return Err(error::protocol("the server's protocol is older than MySQL 5.6's"));
        }
        // At least 13 bytes, the last of them zero.
        let more = packet.bytes(length.saturating_sub(8).max(13))?;
        nonce.extend(more.iter().take_while(|b| **b != 0));
        let rest = packet.rest();
        let plugin = rest.split(|b| *b == 0).next().unwrap_or_default();
        Ok(Self { version, connection_id, capabilities, nonce, plugin: text(plugin) })
    }

    pub(super) fn offers_tls(&self) -> bool {
        self.capabilities & capability::SSL != 0
    }

    pub(super) fn offers(&self, compression: Compression) -> bool {
        self.capabilities & bit(compression) != 0
    }

    /// The capabilities that we use.
    pub(super) fn agreed(&self, config: &MySqlConfig, tls: bool) -> u32 {
        use capability as c;
        let mut wanted = c::LONG_PASSWORD
            | c::LONG_FLAG
            | c::PROTOCOL_41
            | c::TRANSACTIONS
            | c::SECURE_CONNECTION
            | c::PLUGIN_AUTH
            | c::CONNECT_ATTRS
            | c::PLUGIN_AUTH_LENENC;
        if let Some(compression) = config.compression() {
            wanted |= bit(compression);
        }
        if config.database().is_some() {
            wanted |= c::CONNECT_WITH_DB;
        }
        // MariaDB clears the first bit to say that it has more of its own: we
        // ask for none of those, so it must be set in the answer.
        (wanted & (self.capabilities | c::LONG_PASSWORD)) | if tls { c::SSL } else { 0 }
    }

    /// `SSLRequest`: the beginning of the answer, and the rest encrypted.
    pub(super) fn ssl_request(&self, config: &MySqlConfig) -> Vec<u8> {
        let mut packet = Vec::with_capacity(32);
        head(self.agreed(config, true), &mut packet);
        packet
    }

    /// `HandshakeResponse41`, with the proof for a plugin.
    pub(super) fn answer(&self, config: &MySqlConfig, tls: bool, plugin: &str, proof: &[u8]) -> Vec<u8> {
        let agreed = self.agreed(config, tls);
        let mut packet = Vec::with_capacity(256);
        head(agreed, &mut packet);
        packet.extend_from_slice(config.user().as_bytes());
        packet.put_u8(0);
        if agreed & capability::PLUGIN_AUTH_LENENC != 0 {
            lenenc(proof, &mut packet);
        } else {
            // OK because no proof is longer than 64 bytes.
            packet.put_u8(u8::try_from(proof.len()).unwrap_or(u8::MAX));
            packet.extend_from_slice(proof);
        }
        if let Some(database) = config.database().filter(|_| agreed & capability::CONNECT_WITH_DB != 0) {
            packet.extend_from_slice(database.as_bytes());
            packet.put_u8(0);
        }
        packet.extend_from_slice(plugin.as_bytes());
        packet.put_u8(0);
        if agreed & capability::CONNECT_ATTRS != 0 {
            let mut attributes = Vec::new();
            for text in ["program_name", "zdm", "_client_version", env!("CARGO_PKG_VERSION")] {
                lenenc(text.as_bytes(), &mut attributes);
            }
            lenenc(&attributes, &mut packet);
        }
        if agreed & capability::ZSTD != 0 {
            packet.put_u8(ZSTD_LEVEL);
        }
        packet
    }
}

fn head(capabilities: u32, packet: &mut Vec<u8>) {
    packet.put_u32_le(capabilities);
    packet.put_u32_le(MAX_PACKET);
    packet.put_u8(UTF8MB4);
    packet.put_bytes(0, 23);
}

/// Bytes behind their length. OK because all of ours are short.
fn lenenc(bytes: &[u8], packet: &mut Vec<u8>) {
    match u8::try_from(bytes.len()) {
        Ok(length @ 0..=250) => packet.put_u8(length),
        _ => {
            packet.put_u8(252);
            packet.put_u16_le(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
        }
    }
    packet.extend_from_slice(bytes);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::script::GREETING;

    #[test]
    fn a_greeting_is_read() {
        let greeting = Greeting::read(GREETING).unwrap();
        assert_eq!((greeting.version.as_str(), greeting.connection_id), ("8.4.0", 7));
        assert_eq!(greeting.nonce, b"abcdefgh123456789012");
        assert_eq!(greeting.plugin, "caching_sha2_password");
        assert!(greeting.offers_tls() && greeting.offers(Compression::Zlib));
    }

    #[test]
    fn an_answer_bears_what_was_agreed() {
        let config = MySqlConfig::parse("mysql://me@h/shop?compression=zlib").unwrap();
        let greeting = Greeting::read(GREETING).unwrap();
        let answer = greeting.answer(&config, true, "mysql_native_password", &[9; 20]);
        let mut read = Reader::new(&answer);
        let agreed = read.u32().unwrap();
        assert_eq!(agreed, greeting.agreed(&config, true));
        assert!(agreed & capability::SSL != 0 && agreed & capability::COMPRESS != 0);
        read.skip(28).unwrap();
        assert_eq!(read.until_zero().unwrap(), b"me");
        assert_eq!(read.lenenc_bytes().unwrap(), Some([9; 20].as_slice()));
        assert_eq!(read.until_zero().unwrap(), b"shop");
        assert_eq!(read.until_zero().unwrap(), b"mysql_native_password");
        let mut attributes = Reader::new(read.lenenc_bytes().unwrap().unwrap());
        assert_eq!(attributes.lenenc_bytes().unwrap(), Some(b"program_name".as_slice()));
        assert!(read.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..120), cut in 0..200_usize) {
            let _ = Greeting::read(&bytes);
            let _ = Greeting::read(&GREETING[..cut.min(GREETING.len())]);
        }
    }
}
