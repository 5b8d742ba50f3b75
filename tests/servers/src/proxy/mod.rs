//! A TCP proxy on the loopback that breaks the network on demand.
//!
//! ```no_run
//! # async fn example(server: &zdm_servers::Postgres) -> zdm_servers::Result<()> {
//! use std::time::Duration;
//! use zdm_servers::proxy::{Cut, Direction, Proxy};
//!
//! let proxy = Proxy::start(server.host(), server.port()).await?;
//! let url = proxy.url(&server.url("shop"));
//! // ... use `url` ...
//! proxy.delay(Direction::FromServer, Duration::from_millis(40));
//! proxy.cut_after(Direction::FromServer, 10_000);
//! proxy.refuse().await;
//! proxy.cut(Cut::Reset).await;
//! proxy.heal().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Faults hold for the connections that are open and for those to come, until
//! [`heal`](Proxy::heal). A delay keeps the bandwidth, a throttle the latency.
//!
//! What it does not do: reorder, duplicate or garble bytes, since TCP does not.

mod faults;
mod link;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::faults::Shared;
pub use self::faults::{Cut, Direction};
use crate::error::{Doing, Result};
use crate::ports;

/// A proxy in front of one server. Ends when it is dropped, and so do its
/// connections.
///
/// It runs on the runtime that it is started from.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: watch::Receiver<bool>,
    acceptor: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1, and connects each client that
    /// comes to the target.
    pub async fn start(target_host: impl Into<String>, target_port: u16) -> Result<Self> {
        let doing = || "starting a proxy".to_owned();
        let mut tries = 0;
        let listener = loop {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, ports::free()?)).await {
                Err(_) if tries < 5 => tries += 1,
                result => break result.doing(doing)?,
            }
        };
        let address = listener.local_addr().doing(doing)?;
        let shared = Arc::new(Shared::new(target_host.into(), target_port));
        let (sender, listening) = watch::channel(true);
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&shared), sender));
        Ok(Self { address, shared, listening, acceptor })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of [`address`](Self::address).
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// A URL that goes to the target, rewritten to go through the proxy: host
    /// and port are replaced, all else stays.
    ///
    /// A text without `//` is returned as it is.
    pub fn url(&self, direct: &str) -> String {
        through(direct, self.address)
    }

    /// Sends the connections to come to another target. Those that are open stay.
    pub fn retarget(&self, host: impl Into<String>, port: u16) {
        self.shared.retarget(host.into(), port);
    }

    /// Cuts every connection now, and waits until it is done. New ones are accepted.
    pub async fn cut(&self, how: Cut) {
        let before = self.shared.cut(how);
        self.shared.emptied(before).await;
    }

    /// Cuts every connection as soon as `bytes` more bytes, counted over all of
    /// them, have gone in a direction: exactly those arrive, then the end.
    ///
    /// It happens once. [`spent`](Self::spent) awaits it.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.shared.set_budget(direction, bytes);
    }

    /// Waits until the last [`cut_after`](Self::cut_after) of a direction has cut, or was healed.
    pub async fn spent(&self, direction: Direction) {
        self.shared.spent(direction).await;
    }

    /// Refuses new connections, and returns when that is so. Those that are
    /// open stay.
    pub async fn refuse(&self) {
        self.shared.change(|faults| faults.refuse = true);
        // An error means that the acceptor has ended: nobody listens then.
        let _ = self.listening.clone().wait_for(|listening| !listening).await;
    }

    /// Delays what goes in a direction.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.shared.change(|faults| faults.delay[direction.index()] = delay);
    }

    /// Lets at most so many bytes through in a second, on each connection. Zero
    /// is taken as one.
    pub fn throttle(&self, direction: Direction, bytes_per_second: u64) {
        self.shared.change(|faults| faults.rate[direction.index()] = Some(bytes_per_second.max(1)));
    }

    /// Swallows: connections stay open, new ones are accepted, and nothing goes
    /// through, not even their end. What was held back goes on after
    /// [`heal`](Self::heal), as after a broken cable.
    pub fn black_hole(&self) {
        self.shared.change(|faults| faults.black_hole = true);
    }

    /// Takes back every fault, and returns when new connections are accepted.
    pub async fn heal(&self) -> Result<()> {
        self.shared.heal();
        self.listening
            .clone()
            .wait_for(|listening| *listening)
            .await
            .map(drop)
            .doing(|| format!("listening on {} again", self.address))
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.shared.connections()
    }

    /// How many bytes have gone in a direction since the start.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared.bytes(direction)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.cut(Cut::Reset);
        self.acceptor.abort();
    }
}

/// Accepts clients, except while they are to be refused: then the socket is
/// closed, so that it is the system that refuses.
async fn accept(first: TcpListener, shared: Arc<Shared>, listening: watch::Sender<bool>) {
    let Ok(address) = first.local_addr() else { return };
    let mut faults = shared.faults();
    let mut listener = first;
    loop {
        let client = tokio::select! {
            biased;
            _ = faults.wait_for(|faults| faults.refuse) => None,
            client = listener.accept() => Some(client),
        };
        match client {
            Some(Ok((client, _))) => link::spawn(client, &shared),
            // A client that left while it was accepted, or too many open files.
            Some(Err(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            None => {
                // Whoever the system has already let in came before.
                let Ok(waiting) = listener.into_std() else { return };
                while let Ok((client, _)) = waiting.accept() {
                    let client = client.set_nonblocking(true).and_then(|()| TcpStream::from_std(client));
                    if let Ok(client) = client {
                        link::spawn(client, &shared);
                    }
                }
                drop(waiting);
                listening.send_replace(false);
                let _ = faults.wait_for(|faults| !faults.refuse).await;
                let again = TcpListener::bind(address).await;
                // Ending drops the sender, which `heal` reports.
                let Ok(again) = again else { return };
                listener = again;
                listening.send_replace(true);
            }
        }
    }
}

fn through(direct: &str, address: SocketAddr) -> String {
    let Some(start) = direct.find("//").map(|at| at + 2) else { return direct.into() };
    let end = direct[start..].find(['/', '?']).map_or(direct.len(), |at| start + at);
    let host = direct[start..end].rfind('@').map_or(start, |at| start + at + 1);
    format!("{}{address}{}", &direct[..host], &direct[end..])
}

#[cfg(test)]
mod tests {
    use super::through;

    #[test]
    fn a_url_goes_through() {
        let address = ([127, 0, 0, 1], 99).into();
        let rewritten = |url| through(url, address);
        assert_eq!(rewritten("postgresql://a:b@h:1/d?x=y@z"), "postgresql://a:b@127.0.0.1:99/d?x=y@z");
        assert_eq!(rewritten("mysql://h"), "mysql://127.0.0.1:99");
        assert_eq!(rewritten("postgresql://[::1]:5/d"), "postgresql://127.0.0.1:99/d");
        assert_eq!(rewritten("host=h"), "host=h");
    }
}
