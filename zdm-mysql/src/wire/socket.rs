//! Sockets: which address, and with which options.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use zdm_core::{Error, ErrorKind, Result};

use crate::config::MySqlConfig;

/// The time between two probes of a silent peer.
const PROBES: Duration = Duration::from_secs(10);

/// Connects to the first address of the host that answers.
pub(super) async fn tcp(config: &MySqlConfig, receive_buffer: Option<u32>) -> Result<TcpStream> {
    let addresses = resolve(config).await?;
    let mut last = None;
    for (tried, address) in addresses.iter().enumerate() {
        // A name with a dead address must not use up the time of the others.
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let limit = config.connect_timeout() / left;
        match tokio::time::timeout(limit, connect(*address, config, receive_buffer)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = Some(timed_out()),
        }
    }
    let error = Error::new(ErrorKind::Connection, "cannot reach the server: check host, port and firewall");
    Err(match last {
        Some(last) => error.caused_by(last),
        None => error,
    })
}

async fn resolve(config: &MySqlConfig) -> Result<Vec<SocketAddr>> {
    match tokio::net::lookup_host((config.host(), config.port())).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => {
            Err(Error::new(ErrorKind::Connection, "cannot look up the host: check its name").caused_by(error))
        }
    }
}

async fn connect(
    address: SocketAddr,
    config: &MySqlConfig,
    receive_buffer: Option<u32>,
) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(size) = receive_buffer {
        // Before connecting: the window's scale is agreed on in the handshake.
        socket.set_recv_buffer_size(size)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    if let Some(keepalive) = config.keepalive() {
        let probes = TcpKeepalive::new().with_time(whole(keepalive));
        #[cfg(any(target_os = "linux", target_os = "macos", target_os = "windows", target_os = "freebsd"))]
        let probes = probes.with_interval(PROBES);
        SockRef::from(&stream).set_tcp_keepalive(&probes)?;
    }
    Ok(stream)
}

/// The kernel counts in seconds and refuses zero.
fn whole(time: Duration) -> Duration {
    time.max(Duration::from_secs(1))
}

#[cfg(unix)]
pub(super) async fn unix(
    path: &std::path::Path,
    receive_buffer: Option<u32>,
) -> Result<tokio::net::UnixStream> {
    let stream = tokio::net::UnixStream::connect(path).await.map_err(|error| {
        Error::new(ErrorKind::Connection, "cannot reach the server: check the file of its socket")
            .with("socket", path.display())
            .caused_by(error)
    })?;
    if let Some(size) = receive_buffer.and_then(|size| usize::try_from(size).ok()) {
        // A hint only: what bounds a Unix socket is the sender's buffer.
        let _ = SockRef::from(&stream).set_recv_buffer_size(size);
    }
    Ok(stream)
}

fn timed_out() -> std::io::Error {
    std::io::Error::from(std::io::ErrorKind::TimedOut)
}
