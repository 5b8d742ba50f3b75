//! Whole conversations, every byte that the server said.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use zdm_servers::postgres::Postgres;

use super::write;

/// A client that keeps what it hears.
struct Raw {
    stream: TcpStream,
    said: Vec<u8>,
    /// Messages before this were looked at.
    seen: usize,
}

impl Raw {
    fn open(server: &Postgres, database: &str) -> Self {
        let mut stream = TcpStream::connect((server.host(), server.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut body = 0x0003_0000_u32.to_be_bytes().to_vec();
        let user = server.user();
        for text in ["user", &user, "database", database, "replication", "database", ""] {
            body.extend([text.as_bytes(), b"\0"].concat());
        }
        stream.write_all(&[&length(&body)[..], &body].concat()).unwrap();
        Self { stream, said: Vec::new(), seen: 0 }
    }

    fn send(&mut self, tag: u8, body: &[u8]) {
        self.stream.write_all(&[&[tag][..], &length(body), body].concat()).unwrap();
    }

    /// Reads on until a message satisfies `last`; its place.
    fn until(&mut self, last: impl Fn(u8, &[u8]) -> bool) -> std::ops::Range<usize> {
        loop {
            while let Some((&[tag, a, b, c, d], rest)) = self.said[self.seen..].split_first_chunk() {
                let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap() - 4;
                if rest.len() < len {
                    break;
                }
                let body = self.seen + 5..self.seen + 5 + len;
                self.seen = body.end;
                if last(tag, &self.said[body.clone()]) {
                    return body;
                }
            }
            let mut piece = [0; 4096];
            let read = self.stream.read(&mut piece).unwrap();
            assert!(read > 0, "the server goes on");
            self.said.extend(&piece[..read]);
        }
    }

    fn query(&mut self, sql: &str) {
        self.send(b'Q', &[sql.as_bytes(), b"\0"].concat());
    }
}

fn length(body: &[u8]) -> [u8; 4] {
    u32::try_from(body.len() + 4).unwrap().to_be_bytes()
}

/// A login, two queries, and a transaction of the log; the same as frames
/// alone and as messages alone. Tables get the numbers that the door knows.
pub(super) fn log(server: &Postgres, name: &str, options: &str, oids: &HashMap<u32, u32>) {
    let mut raw = Raw::open(server, "corpus");
    raw.until(|tag, _| tag == b'Z');
    // What a session begins with from 14 on, and what the door asks.
    for sql in ["SET idle_session_timeout = 0", "SELECT 1", "IDENTIFY_SYSTEM"] {
        raw.query(sql);
        raw.until(|tag, _| tag == b'Z');
    }
    let options = format!("{options}, publication_names 'pub', messages 'true'");
    raw.query(&format!("START_REPLICATION SLOT \"{name}\" LOGICAL 0/0 ({options})"));
    let stream = raw.until(|tag, _| tag == b'W').end;
    let (mut messages, mut part, mut committed) = (Vec::new(), false, false);
    loop {
        let frame = raw.until(|tag, _| tag == b'd');
        if raw.said[frame.start] != b'w' {
            // A keep-alive behind the last commit.
            if committed { break } else { continue }
        }
        let message = &mut raw.said[frame.start + 25..frame.end];
        match message[0] {
            b'S' => part = true,
            b'E' => part = false,
            kind => committed = matches!(kind, b'C' | b'c'),
        }
        renumber(message, oids, if part { 4 } else { 0 });
        messages.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
        messages.extend_from_slice(message);
    }
    write("pg_session", name, &raw.said[..raw.seen]);
    write("pg_log", name, &raw.said[stream..raw.seen]);
    write("pg_messages", name, &messages);
}

/// Gives the tables of a message their numbers, which lie behind so many bytes
/// of the transaction's own.
fn renumber(message: &mut [u8], oids: &HashMap<u32, u32>, own: usize) {
    let places: Vec<usize> = match message[0] {
        b'R' | b'I' | b'U' | b'D' => vec![1 + own],
        b'T' => (6 + own..message.len()).step_by(4).collect(),
        _ => Vec::new(),
    };
    for at in places {
        let place: &mut [u8; 4] = (&mut message[at..at + 4]).try_into().unwrap();
        *place = oids[&u32::from_be_bytes(*place)].to_be_bytes();
    }
}

/// What a server says to the first message of SCRAM, and a last one by hand.
pub(super) fn challenge(server: &Postgres) {
    let mut raw = Raw::open(server, "postgres");
    raw.until(|tag, body| tag == b'R' && body.starts_with(&[0, 0, 0, 10]));
    let first = [b"n,,n=,r=", zdm_pg::fuzz::NONCE].concat();
    let said = [&b"SCRAM-SHA-256\0"[..], &u32::try_from(first.len()).unwrap().to_be_bytes(), &first].concat();
    raw.send(b'p', &said);
    let challenge = raw.until(|tag, body| tag == b'R' && body.starts_with(&[0, 0, 0, 11]));
    let last = b"v=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    write("pg_scram", "challenge", &[&raw.said[challenge.start + 4..challenge.end], b"\0", last].concat());
    write(
        "pg_scram",
        "refusal",
        &[&raw.said[challenge.start + 4..challenge.end], b"\0e=other-error"].concat(),
    );
    write("pg_session", "bad-scram", &raw.said);
}
