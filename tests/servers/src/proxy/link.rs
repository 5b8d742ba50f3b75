//! One connection through the proxy.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::faults::{Cut, Direction, Faults, Shared};

/// How much is read at once.
const PIECE: usize = 16 * 1024;

/// How many pieces may be under way while they are delayed: with the size of a
/// piece, what bounds the bandwidth of a delayed connection.
const UNDER_WAY: usize = 256;

/// Connects a client to the target, and moves bytes until either side ends or
/// the connection is cut.
pub(crate) fn spawn(client: TcpStream, shared: &Arc<Shared>) {
    let faults = shared.faults();
    let cuts = faults.borrow().cuts.0;
    // Counted before the task runs, so that a cut from now on waits for it.
    let open = Open { shared: Arc::clone(shared), cuts };
    shared.opened(cuts);
    tokio::spawn(async move {
        let shared = Arc::clone(&open.shared);
        run(client, faults, &shared, cuts).await;
        drop(open);
    });
}

/// A connection that is counted as open.
struct Open {
    shared: Arc<Shared>,
    cuts: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.closed(self.cuts);
    }
}

async fn run(mut client: TcpStream, mut faults: watch::Receiver<Faults>, shared: &Arc<Shared>, before: u64) {
    let mut server = None;
    let end = tokio::select! {
        how = cut(&mut faults, before) => how,
        result = join(&mut client, &mut server, shared) => match result {
            Ok(()) => Cut::Close,
            Err(_) => Cut::Reset,
        },
    };
    if end == Cut::Reset {
        for stream in [Some(&client), server.as_ref()].into_iter().flatten() {
            // A socket that is already dead needs no reset.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

async fn cut(faults: &mut watch::Receiver<Faults>, before: u64) -> Cut {
    match faults.wait_for(|faults| faults.cuts.0 > before).await {
        Ok(faults) => faults.cuts.1,
        Err(_) => Cut::Reset,
    }
}

async fn join(
    client: &mut TcpStream,
    server: &mut Option<TcpStream>,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let mut faults = shared.faults();
    open_road(&mut faults).await;
    let server = server.insert(TcpStream::connect(shared.target()).await?);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::try_join!(
        pump(from_client, to_server, Direction::ToServer, shared),
        pump(from_server, to_client, Direction::FromServer, shared),
    )?;
    Ok(())
}

/// Moves the bytes of one direction, up to and with their end.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    direction: Direction,
    shared: &Shared,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel(UNDER_WAY);
    let read = async move {
        let mut faults = shared.faults();
        let mut buffer = vec![0; PIECE];
        loop {
            open_road(&mut faults).await;
            let count = from.read(&mut buffer).await?;
            let due = Instant::now() + faults.borrow().delay[direction.index()];
            // Nothing left is the end, and travels like the rest.
            if sender.send((due, buffer[..count].to_vec())).await.is_err() || count == 0 {
                return Ok(());
            }
        }
    };
    tokio::try_join!(read, write(receiver, to, direction, shared)).map(drop)
}

/// Writes what was read, when it is due and as fast as it may.
async fn write(
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    shared: &Shared,
) -> io::Result<()> {
    let mut faults = shared.faults();
    while let Some((due, bytes)) = pieces.recv().await {
        tokio::time::sleep_until(due).await;
        if bytes.is_empty() {
            open_road(&mut faults).await;
            return to.shutdown().await;
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            open_road(&mut faults).await;
            let rate = faults.borrow().rate[direction.index()];
            // Twenty pieces in a second, so that it flows rather than jumps.
            let most =
                rate.map_or(rest.len(), |rate| usize::try_from(rate.div_ceil(20)).unwrap_or(usize::MAX));
            let (piece, wanted) = rest.split_at(rest.len().min(most));
            rest = wanted;
            send(&mut to, piece, direction, shared).await?;
            if let Some(rate) = rate {
                let micros = (piece.len() as u64).saturating_mul(1_000_000) / rate;
                tokio::time::sleep(Duration::from_micros(micros)).await;
            }
        }
    }
    Ok(())
}

/// Writes one piece, or as much of it as may still go before a cut.
async fn send(
    to: &mut (impl AsyncWrite + Unpin),
    piece: &[u8],
    direction: Direction,
    shared: &Shared,
) -> io::Result<()> {
    let (allowed, last) = shared.take(direction, piece.len() as u64);
    // At most the length of `piece`, which is a usize.
    let allowed = usize::try_from(allowed).unwrap_or(piece.len());
    to.write_all(&piece[..allowed]).await?;
    shared.count(direction, allowed as u64);
    if last {
        shared.spend(direction);
        // The cut ends this task.
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Waits while there is a black hole.
async fn open_road(faults: &mut watch::Receiver<Faults>) {
    // The sender lives as long as the connection: there is no error.
    let _ = faults.wait_for(|faults| !faults.black_hole).await;
}
