//! Where messages begin in the bytes that go over a session.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

/// Tag and length.
pub(super) const HEADER: usize = 5;

/// Walks the messages of one direction, however their bytes are cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Messages {
    head: [u8; HEADER],
    /// So much of the header has come.
    came: usize,
    /// So much of the body has not.
    left: usize,
}

impl Messages {
    /// From a message's first byte.
    pub(super) fn new() -> Self {
        Self { head: [0; HEADER], came: 0, left: 0 }
    }

    /// From the client's first byte: that message has no tag. It is told as 0.
    pub(super) fn of_client() -> Self {
        Self { came: 1, ..Self::new() }
    }

    /// Goes on over these bytes and gives the tag of each message whose header
    /// they complete.
    pub(super) fn walk(&mut self, mut bytes: &[u8], mut begins: impl FnMut(u8)) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let step = self.left.min(bytes.len());
                (self.left, bytes) = (self.left - step, &bytes[step..]);
                continue;
            }
            let step = (HEADER - self.came).min(bytes.len());
            self.head[self.came..self.came + step].copy_from_slice(&bytes[..step]);
            (self.came, bytes) = (self.came + step, &bytes[step..]);
            if self.came == HEADER {
                let [tag, length @ ..] = self.head;
                // It counts itself.
                let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                (self.came, self.left) = (0, length.saturating_sub(HEADER - 1));
                begins(tag);
            }
        }
    }

    /// The tag of the message that has just ended; `None` in the middle of one.
    pub(super) fn ended(&self) -> Option<u8> {
        (self.left == 0 && self.came == 0).then_some(self.head[0])
    }
}
