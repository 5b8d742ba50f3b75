//! The compressed protocol: packets within frames of zlib or zstd.
//!
//! A frame is its length (3 bytes), a sequence number, the length that it has
//! once it is unpacked (3 bytes; zero: it is not packed), and that. Frames
//! know nothing of the packets in them.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_compression_packet.html>

use std::io::Read;

use bytes::{Buf, BufMut, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};
use ruzstd::decoding::StreamingDecoder;
use zdm_core::Result;

use crate::config::Compression;

use crate::error;

/// Length, sequence number, unpacked length.
const HEADER: usize = 7;
/// How much is unpacked at a time: room is made as bytes come, not as they
/// are announced.
const PIECE: usize = 64 << 10;

/// Unpacks what was read from the socket.
#[derive(Debug)]
pub(super) struct Inflate {
    compression: Compression,
    zlib: Decompress,
    /// What was read and is not yet unpacked: less than a frame.
    pub(super) packed: BytesMut,
    sequence: u8,
}

impl Inflate {
    pub(super) fn new(compression: Compression) -> Self {
        Self { compression, zlib: Decompress::new(true), packed: BytesMut::new(), sequence: 0 }
    }

    /// Unpacks the frames that are complete. A frame's announced length is
    /// believed only once the frame is there, and is at most 16 MiB.
    pub(super) fn unpack(&mut self, into: &mut BytesMut) -> Result<()> {
        while let Some((header, _)) = self.packed.split_first_chunk::<HEADER>() {
            let [a, b, c, sequence, x, y, z] = *header;
            let (length, unpacked) = (length(a, b, c), length(x, y, z));
            if self.packed.len() < HEADER + length {
                return Ok(());
            }
            self.sequence = sequence.wrapping_add(1);
            self.packed.advance(HEADER);
            let frame = self.packed.split_to(length);
            if unpacked == 0 {
                into.extend_from_slice(&frame);
            } else {
                self.inflate(&frame, unpacked, into)?;
            }
        }
        Ok(())
    }

    fn inflate(&mut self, frame: &[u8], unpacked: usize, into: &mut BytesMut) -> Result<()> {
        let end = into.len() + unpacked;
        match self.compression {
            Compression::Zlib => self.zlib(frame, end, into),
            Compression::Zstd => zstd(frame, end, into),
        }
        .filter(|()| into.len() == end)
        .ok_or_else(|| error::protocol("the server sent a compressed packet that cannot be read"))
    }

    fn zlib(&mut self, mut frame: &[u8], end: usize, into: &mut BytesMut) -> Option<()> {
        self.zlib.reset(true);
        loop {
            let start = into.len();
            // One more than there may be, to see an end that comes too late.
            into.resize(start + PIECE.min(end - start + 1), 0);
            let (read, written) = (self.zlib.total_in(), self.zlib.total_out());
            let status = self.zlib.decompress(frame, into.get_mut(start..)?, FlushDecompress::None).ok()?;
            let read = usize::try_from(self.zlib.total_in() - read).ok()?;
            let written = usize::try_from(self.zlib.total_out() - written).ok()?;
            into.truncate(start + written);
            frame = frame.get(read..)?;
            if status == Status::StreamEnd {
                return Some(());
            }
            if into.len() > end || (read == 0 && written == 0) {
                return None;
            }
        }
    }

    /// A command begins: so do the numbers of frames.
    pub(super) fn begin(&mut self) {
        self.sequence = 0;
    }

    /// Puts packets into frames that are not packed: what we send is short.
    pub(super) fn wrap(&mut self, packets: &[u8], into: &mut BytesMut) {
        for piece in packets.chunks(0x00ff_ffff) {
            // OK because a piece has at most 2^24 - 1 bytes.
            into.put_uint_le(piece.len() as u64, 3);
            into.put_u8(self.sequence);
            into.put_uint_le(0, 3);
            into.extend_from_slice(piece);
            self.sequence = self.sequence.wrapping_add(1);
        }
    }
}

fn zstd(frame: &[u8], end: usize, into: &mut BytesMut) -> Option<()> {
    let mut source = StreamingDecoder::new(frame).ok()?;
    loop {
        let start = into.len();
        into.resize(start + PIECE.min(end - start + 1), 0);
        let read = source.read(into.get_mut(start..)?).ok()?;
        into.truncate(start + read);
        if read == 0 {
            return Some(());
        }
        if into.len() > end {
            return None;
        }
    }
}

fn length(a: u8, b: u8, c: u8) -> usize {
    usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(payload).unwrap();
        let packed = zlib.finish().unwrap();
        let mut frame = Vec::new();
        frame.put_uint_le(packed.len() as u64, 3);
        frame.put_u8(0);
        frame.put_uint_le(payload.len() as u64, 3);
        frame.extend_from_slice(&packed);
        frame
    }

    #[test]
    fn frames_in_any_pieces_give_the_packets_back() {
        let mut inflate = Inflate::new(Compression::Zlib);
        let mut wrapped = BytesMut::new();
        inflate.wrap(b"plain", &mut wrapped);
        let stream = [frame(&[7; 100_000]), wrapped.to_vec(), frame(b"x")].concat();
        for piece in [1, 5, 7, 1000, stream.len()] {
            let (mut inflate, mut out) = (Inflate::new(Compression::Zlib), BytesMut::new());
            for bytes in stream.chunks(piece) {
                inflate.packed.extend_from_slice(bytes);
                inflate.unpack(&mut out).unwrap();
            }
            assert_eq!(out, [vec![7; 100_000], b"plainx".to_vec()].concat());
        }
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        for change in [1, 255] {
            let mut bytes = frame(&[7; 1000]);
            bytes[4] = bytes[4].wrapping_add(change);
            let (mut inflate, mut out) = (Inflate::new(Compression::Zlib), BytesMut::new());
            inflate.packed.extend_from_slice(&bytes);
            assert!(inflate.unpack(&mut out).is_err());
        }
    }

    /// "hello " a thousand times, as the program `zstd` packs it.
    #[test]
    fn zstd_gives_the_packets_back() {
        let packed = b"\x28\xb5\x2f\xfd\x00\x58\x75\x00\x00\x30hello \x01\x00\x67\x97\xbe\x14\x01";
        let mut bytes = BytesMut::new();
        bytes.put_uint_le(packed.len() as u64, 3);
        bytes.put_u8(0);
        bytes.put_uint_le(6000, 3);
        bytes.extend_from_slice(packed);
        for (change, fine) in [(0, true), (1, false), (255, false)] {
            let (mut inflate, mut out) = (Inflate::new(Compression::Zstd), BytesMut::new());
            inflate.packed.extend_from_slice(&bytes);
            inflate.packed[4] = bytes[4].wrapping_add(change);
            assert_eq!(inflate.unpack(&mut out).is_ok(), fine);
            assert!(!fine || out == b"hello ".repeat(1000)[..]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_unpacked_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (mut inflate, mut out) = (Inflate::new(Compression::Zlib), BytesMut::new());
            inflate.packed.extend_from_slice(&bytes);
            let _ = inflate.unpack(&mut out);
        }
    }
}
