//! The stream under a session: it feels a pulse, and large rows of a COPY go
//! around the client.
//!
//! The client reads into one buffer, which doubles when it is full, and reads
//! ahead: with rows of many megabytes it would hold a handful of them. So a row
//! that is larger than a batch is read into a buffer of its own, just as long
//! as the row, when somebody waits for it and not before. The client finds an
//! empty message in its place, which no row is.
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::aside::{Aside, LARGE};
use super::messages::HEADER;
use super::pulse::Pulse;
use crate::wire::Stream;

/// By how many times what has come the buffer of a row grows: in few steps,
/// since each leaves a buffer behind that the system may not get back.
const GROWTH: usize = 7;
/// What stands in the place of a large row: a message of no bytes.
const EMPTY: [u8; HEADER] = *b"d\0\0\0\x04";

/// A stream with a pulse.
#[derive(Debug)]
pub(super) struct Felt<S = Stream> {
    stream: S,
    pulse: Pulse,
    aside: Aside,
    place: Place,
    /// A header, of which so many bytes have come and none was handed over.
    head: ([u8; HEADER], usize),
    /// What is to be handed over before anything else is read.
    due: BytesMut,
}

/// Where in the server's messages the next byte lies.
#[derive(Debug)]
enum Place {
    Header,
    /// So many bytes before the next header.
    Body(usize),
    /// In a row that goes around the client, and has that length.
    Aside(Vec<u8>, usize),
    /// In what is no message. The client will say so.
    Lost,
}

impl<S> Felt<S> {
    pub(super) fn new(stream: S, pulse: Pulse, aside: Aside) -> Self {
        let head = ([0; HEADER], 0);
        Self { stream, pulse, aside, place: Place::Header, head, due: BytesMut::new() }
    }

    /// Where a header leads, of whose message so many bytes have come.
    fn follow(&self, header: &[u8], came: usize) -> Place {
        let Some((&tag, length)) = header.split_first() else { return Place::Lost };
        let length = length.first_chunk().map_or(0, |length| u32::from_be_bytes(*length));
        // It counts itself.
        match usize::try_from(length).ok().and_then(|length| length.checked_sub(HEADER - 1)) {
            None => Place::Lost,
            Some(body) if tag == b'd' && body > LARGE && came < body && self.aside.is_open() => {
                Place::Aside(Vec::new(), body)
            }
            Some(body) => Place::Body(body),
        }
    }

    /// Walks what was just read, and takes back what is not for the client.
    fn walk(&mut self, buf: &mut ReadBuf<'_>, from: usize) {
        let mut at = from;
        loop {
            let rest = buf.filled().get(at..).unwrap_or_default();
            match &mut self.place {
                Place::Lost => return,
                Place::Body(left) => {
                    let step = rest.len().min(*left);
                    (*left, at) = (*left - step, at + step);
                    if *left > 0 {
                        return;
                    }
                    self.place = Place::Header;
                }
                Place::Header if rest.len() < HEADER => {
                    self.head.0[..rest.len()].copy_from_slice(rest);
                    self.head.1 = rest.len();
                    buf.set_filled(at);
                    return;
                }
                Place::Header => {
                    let (header, body) = rest.split_at(HEADER);
                    self.place = self.follow(header, body.len());
                    at += HEADER;
                }
                Place::Aside(row, _) => {
                    row.extend_from_slice(rest);
                    buf.set_filled(at - HEADER);
                    return;
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Felt<S> {
    /// Reads the rest of a header whose beginning was kept back.
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (head, came) = &mut self.head;
        let mut rest = ReadBuf::new(&mut head[*came..]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut rest))?;
        let new = rest.filled().len();
        self.pulse.received(rest.filled());
        *came += new;
        if *came == HEADER {
            let header = *head;
            *came = 0;
            self.place = self.follow(&header, 0);
            if !matches!(self.place, Place::Aside(..)) {
                self.due.extend_from_slice(&header);
            }
        }
        Poll::Ready(Ok(new))
    }

    /// Reads on in a row that goes around the client.
    fn poll_aside(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Place::Aside(row, whole) = &mut self.place else { return Poll::Ready(Ok(0)) };
        ready!(self.aside.poll_wanted(cx));
        let (came, left) = (row.len(), *whole - row.len());
        if row.capacity() == came {
            // By a multiple of what has come, whatever was announced, and in
            // the end to just the row's length.
            row.reserve_exact(left.min((came * GROWTH).max(LARGE)));
        }
        // OK to make a new future for each poll: `read_buf` keeps no state.
        let mut room = row.limit(left);
        let new = ready!(pin!(self.stream.read_buf(&mut room)).poll(cx))?;
        self.pulse.received(row.get(came..).unwrap_or_default());
        if new == left {
            // Unique and whole: not copied.
            self.aside.put(Bytes::from(std::mem::take(row)).into());
            self.place = Place::Header;
            self.due.extend_from_slice(&EMPTY);
        }
        Poll::Ready(Ok(new))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Felt<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.due.is_empty() {
                let some = self.due.len().min(buf.remaining());
                let some = self.due.split_to(some);
                buf.put_slice(&some);
                return Poll::Ready(Ok(()));
            }
            let came = if matches!(self.place, Place::Aside(..)) {
                ready!(self.poll_aside(cx))?
            } else if self.head.1 > 0 {
                ready!(self.poll_header(cx))?
            } else {
                let before = buf.filled().len();
                ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
                let came = buf.filled().len() - before;
                self.pulse.received(&buf.filled()[before..]);
                self.walk(buf, before);
                if buf.filled().len() > before {
                    return Poll::Ready(Ok(()));
                }
                came
            };
            // Nothing is the end of the stream.
            if came == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Felt<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        match &polled {
            Poll::Ready(Ok(count @ 1..)) => self.pulse.sent(&buf[..*count]),
            Poll::Pending => self.pulse.stuck(),
            Poll::Ready(_) => {}
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Felt<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::super::pulse::Turn;
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        [&[tag][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
    }

    /// Bytes that come in pieces, and then an end.
    struct Pieces(VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(buf.remaining()));
                buf.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    /// What the client reads of bytes that come in these pieces, `room` at a
    /// time, and the rows that went around it.
    async fn read(bytes: &[u8], pieces: &[usize], room: usize) -> (Vec<u8>, Vec<BytesMut>) {
        let (mut came, mut rest) = (VecDeque::new(), bytes);
        for piece in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, later) = rest.split_at(rest.len().min(*piece));
            came.push_back(piece.to_vec());
            rest = later;
        }
        let aside = Aside::default();
        aside.open();
        let mut felt = Felt::new(Pieces(came), Pulse::new(Turn::Idle), aside.clone());
        let (mut all, mut rows, mut buffer) = (Vec::new(), Vec::new(), vec![0; room]);
        loop {
            aside.want();
            match felt.read(&mut buffer).await.unwrap() {
                0 => return (all, rows),
                some => all.extend_from_slice(&buffer[..some]),
            }
            rows.extend(aside.take());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn large_rows_go_around_the_client_and_nothing_else_does(
            messages in prop::collection::vec((prop::sample::select(&b"dDZ"[..]), 0..3_usize, 0..9_usize), 0..12),
            pieces in prop::collection::vec(prop_oneof![1..9_usize, 1..3 * LARGE], 1..6),
            room in prop_oneof![1..9_usize, 1_000..3 * LARGE],
        ) {
            let (mut all, mut seen, mut large) = (Vec::new(), Vec::new(), Vec::new());
            for (number, (tag, of, more)) in messages.into_iter().enumerate() {
                // A multitude of single bytes would take its time.
                let length = if room < 9 || pieces.iter().all(|p| *p < 1_000) { more } else { of * LARGE + more };
                let body: Vec<u8> = (0..length).map(|at| u8::try_from((at + number) % 251).unwrap()).collect();
                all.extend(message(tag, &body));
                if tag == b'd' && length > LARGE {
                    large.push(body);
                    seen.extend(EMPTY);
                } else {
                    seen.extend(message(tag, &body));
                }
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (read, rows) = runtime.block_on(read(&all, &pieces, room));
            // A row that came whole in one piece may stay where it is.
            if rows.len() == large.len() {
                prop_assert!(read == seen && rows == large);
            } else {
                let within: usize = rows.iter().map(|row| row.len()).sum();
                prop_assert_eq!(read.len() + within, all.len());
            }
        }

        #[test]
        fn what_is_no_message_passes_as_it_is(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (read, rows) = runtime.block_on(read(&bytes, &[7, 64], 50));
            prop_assert!(rows.is_empty() && bytes.starts_with(&read));
        }
    }

    #[tokio::test]
    async fn a_large_row_is_read_when_it_is_waited_for_and_has_its_own_length() {
        let row = vec![7; 3 * LARGE + 1];
        let bytes = message(b'd', &row);
        let aside = Aside::default();
        aside.open();
        let pieces = [&bytes[..100], &bytes[100..]].map(<[u8]>::to_vec);
        let mut felt = Felt::new(Pieces(pieces.into()), Pulse::new(Turn::Idle), aside.clone());
        let mut buffer = [0; 1_000];
        let early = tokio::time::timeout(std::time::Duration::ZERO, felt.read(&mut buffer)).await;
        assert!(early.is_err(), "nobody waits for it");
        aside.want();
        assert_eq!(felt.read(&mut buffer).await.unwrap(), HEADER);
        let whole = aside.take().unwrap();
        assert!(whole == row && whole.capacity() == row.len(), "{} for {}", whole.capacity(), row.len());
    }
}
