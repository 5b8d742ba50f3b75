//! Budgets and deadlines of a cutover.

use std::time::Duration;

use crate::connect::HoldOptions;

/// Budgets and deadlines of a cutover.
///
/// `pause` bounds what the application can feel; the others bound single
/// steps within it, or wait while nobody is kept waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CutoverOptions {
    /// For how long writers may be kept waiting in all, up to the commit
    /// point. Passed, everything is given back to the source. Ten seconds.
    pub pause: Duration,
    /// For how long requests that are inside the gate are waited for. Five
    /// seconds.
    pub gate: Duration,
    /// How the fence is taken: its deadline, and its patience at once.
    pub hold: HoldOptions,
    /// The drain's budget: a cutover that would take longer does not begin,
    /// one that does is given up. Five seconds.
    pub drain: Duration,
    /// The most bytes of log to be behind at the beginning, when no rate is
    /// known to predict the drain from. 16 MiB.
    pub lag: u64,
    /// How far behind the source's live value each sequence is set: numbers
    /// are taken without regard to locks. 1000.
    pub sequence_margin: u32,
    /// For how long the record speaks for this process after it was last
    /// heard of. Thirty seconds.
    pub lease: Duration,
    /// For how long to ask what became of a commit point whose outcome is
    /// unknown, and to try to open the target behind it. Thirty seconds.
    pub settle: Duration,
    /// Whether rows are compared: in step 0 all of them, unless this process has
    /// found both sides equal before, and under the fence, at step 5, those that
    /// the stream has touched since. See [`Evidence`](super::Evidence). No.
    pub verify: bool,
    /// Whether the switch is certified: both sides are kept as they are under the
    /// fence, and all their rows are counted and digested behind it, while the
    /// application goes on. Until that is done a snapshot stays open on either
    /// side, which keeps dead rows from being removed, and a way back waits to be
    /// started. No.
    pub certificate: bool,
    /// Whether the checks take the hold once for an instant, to see that it
    /// can be taken. Yes.
    pub try_hold: bool,
}

impl CutoverOptions {
    /// The same, for a cutover that must be done within that time, or is given
    /// up: the pause, and the hold and the drain within it.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.hold.deadline = deadline;
        self.pause(deadline).drain(deadline)
    }
}

impl Default for CutoverOptions {
    fn default() -> Self {
        Self {
            pause: Duration::from_secs(10),
            gate: Duration::from_secs(5),
            hold: HoldOptions::default(),
            drain: Duration::from_secs(5),
            lag: 16 << 20,
            sequence_margin: 1000,
            lease: Duration::from_secs(30),
            settle: Duration::from_secs(30),
            verify: false,
            certificate: false,
            try_hold: true,
        }
    }
}

/// One setter for each field, so that their docs stand in one place.
macro_rules! setters {
    ($($name:ident: $type:ty),* $(,)?) => {
        impl CutoverOptions {
            $(#[doc = concat!("The same, with another [`", stringify!($name), "`](Self#structfield.", stringify!($name), ").")]
            #[must_use]
            pub fn $name(mut self, $name: $type) -> Self {
                self.$name = $name;
                self
            })*
        }
    };
}

setters! {
    pause: Duration,
    gate: Duration,
    hold: HoldOptions,
    drain: Duration,
    lag: u64,
    sequence_margin: u32,
    lease: Duration,
    settle: Duration,
    verify: bool,
    certificate: bool,
    try_hold: bool,
}
