//! The compressed protocol: packets within zlib frames.
//!
//! A frame is its length (3 bytes), a sequence number, the length that it has
//! once it is unpacked (3 bytes; zero: it is not packed), and that. Frames
//! know nothing of the packets in them.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_compression_packet.html>

use bytes::{Buf, BufMut, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};
use zdm_core::Result;

use crate::error;

/// Length, sequence number, unpacked length.
const HEADER: usize = 7;

/// Unpacks what was read from the socket.
#[derive(Debug)]
pub(super) struct Inflate {
    zlib: Decompress,
    /// What was read and is not yet unpacked: less than a frame.
    pub(super) packed: BytesMut,
    sequence: u8,
}

impl Inflate {
    pub(super) fn new() -> Self {
        Self { zlib: Decompress::new(true), packed: BytesMut::new(), sequence: 0 }
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
        let broken = || error::protocol("the server sent a compressed packet that cannot be read");
        let start = into.len();
        into.resize(start + unpacked, 0);
        let out = into.get_mut(start..).ok_or_else(broken)?;
        self.zlib.reset(true);
        let status = self.zlib.decompress(frame, out, FlushDecompress::Finish).map_err(|_| broken())?;
        if status != Status::StreamEnd || self.zlib.total_out() != unpacked as u64 {
            return Err(broken());
        }
        Ok(())
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
        let mut inflate = Inflate::new();
        let mut wrapped = BytesMut::new();
        inflate.wrap(b"plain", &mut wrapped);
        let stream = [frame(&[7; 100_000]), wrapped.to_vec(), frame(b"x")].concat();
        for piece in [1, 5, 7, 1000, stream.len()] {
            let (mut inflate, mut out) = (Inflate::new(), BytesMut::new());
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
            let (mut inflate, mut out) = (Inflate::new(), BytesMut::new());
            inflate.packed.extend_from_slice(&bytes);
            assert!(inflate.unpack(&mut out).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_unpacked_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (mut inflate, mut out) = (Inflate::new(), BytesMut::new());
            inflate.packed.extend_from_slice(&bytes);
            let _ = inflate.unpack(&mut out);
        }
    }
}
