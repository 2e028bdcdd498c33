//! UDP sockets: a reader task each, which empties the socket in batches.

use super::access::Access;
use super::inlet::{Inlet, Inlets};
use crate::base::clock;
use bytes::Bytes;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Binds with a receive buffer that holds a burst of calls while the driver is busy.
pub(super) fn bind(address: SocketAddr) -> io::Result<(SocketAddr, UdpSocket)> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // As large as the system allows: a smaller buffer is no reason not to start.
    for (size, result) in [
        (RECEIVE_BUFFER, socket.set_recv_buffer_size(RECEIVE_BUFFER)),
        (SEND_BUFFER, socket.set_send_buffer_size(SEND_BUFFER)),
    ] {
        if let Err(error) = result {
            tracing::debug!(size, %error, "SIP socket buffer");
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let socket = UdpSocket::from(socket);
    Ok((socket.local_addr()?, socket))
}

/// Reads datagrams until `stop`.
pub(super) async fn receive(
    index: usize,
    socket: Arc<tokio::net::UdpSocket>,
    inlets: Inlets,
    access: Arc<Access>,
    stop: CancellationToken,
) {
    let mut buffer = vec![0; LARGEST];
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            ready = socket.readable() => if ready.is_err() { return },
        }
        let (mut batch, mut size) = (Vec::new(), 0);
        let now = clock::now().at;
        // What is thrown away counts too: other tasks have their turn in between.
        for _ in 0..BATCH {
            if size >= BATCH_BYTES {
                break;
            }
            match socket.try_recv_from(&mut buffer) {
                Ok((length, remote)) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    if access.takes_datagram(now, remote.ip(), datagram) {
                        size += length;
                        batch.push((remote, Bytes::copy_from_slice(datagram)));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error of something sent before; the datagrams behind it are still there.
                Err(error) => {
                    tracing::debug!(%error, "SIP datagram receive");
                    break;
                }
            }
        }
        // Nobody reads any more when this fails: the driver has ended.
        if !batch.is_empty() && !inlets.send(Inlet::Datagrams { socket: index, batch }).await {
            return;
        }
    }
}

/// Sends one datagram now, or not at all: SIP repeats what is lost.
pub(super) fn send(socket: &tokio::net::UdpSocket, remote: SocketAddr, bytes: &[u8]) -> io::Result<()> {
    SockRef::from(socket).send_to(bytes, &remote.into()).map(|_| ())
}

const RECEIVE_BUFFER: usize = 4 << 20;
const SEND_BUFFER: usize = 1 << 20;
const LARGEST: usize = 65_535;
/// Datagrams handed over at once.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 256 << 10;
