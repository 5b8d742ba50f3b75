//! Small changes to bytes, as a fuzzer makes them, by a seeded generator.

use fastrand::Rng;

/// Numbers at which code breaks, as bytes of a length, big end first.
const NUMBERS: [u32; 12] =
    [0, 1, 3, 4, 0x7f, 0xff, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffb, 0xffff_ffff];
/// Letters that mean something to one decoder or another.
const LETTERS: &[u8] = b"BCRIUDTOYMSEcAKNtnubwk\\{}\"[],:=%@/'.-+ \t\n\r\0\xff09";

/// One to four changes to `seed`, some of them with parts of `other`.
pub(crate) fn mutate(seed: &[u8], other: &[u8], random: &mut Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(..=bytes.len());
        match random.u8(..9) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.u8(..)),
            2 => bytes.insert(at, LETTERS[random.usize(..LETTERS.len())]),
            3 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            4 if at < bytes.len() => bytes[at] = LETTERS[random.usize(..LETTERS.len())],
            5 if at < bytes.len() => drop(bytes.remove(at)),
            6 => {
                let number = NUMBERS[random.usize(..NUMBERS.len())].to_be_bytes();
                let number = &number[random.usize(..number.len())..];
                let end = (at + number.len()).min(bytes.len());
                bytes.splice(at..end, number.iter().copied());
            }
            7 => {
                let part = slice(other, random).to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let part = slice(&bytes, random).to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

fn slice<'a>(bytes: &'a [u8], random: &mut Rng) -> &'a [u8] {
    let from = random.usize(..=bytes.len());
    let rest = &bytes[from..];
    &rest[..random.usize(..=rest.len().min(64))]
}
