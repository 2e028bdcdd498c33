//! The socket of RTCP. It is read seldom, for the kernel notes when each datagram came: round trips are exact all the same.

use crate::base::Now;
use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use nix::sys::time::TimeSpec;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Room for what the kernel notes.
pub(super) fn notes() -> Vec<u8> {
    cmsg_space!(TimeSpec)
}

/// The next datagram: its length in `room`, who sent it, when it came.
pub(super) fn receive(
    socket: &UdpSocket,
    now: Now,
    room: &mut [u8],
    notes: &mut [u8],
) -> io::Result<(usize, SocketAddr, Instant)> {
    let mut pieces = [IoSliceMut::new(room)];
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut pieces, Some(notes), MsgFlags::empty())?;
    let from = message.address.and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
    });
    let noted = message.cmsgs()?.find_map(|note| match note {
        ControlMessageOwned::ScmTimestampns(time) => Some(UNIX_EPOCH + Duration::from(time)),
        _ => None,
    });
    // A clock on the wall that was set meanwhile must not turn seconds into hours.
    let ago = noted.and_then(|noted| now.wall.duration_since(noted).ok()).filter(|ago| *ago < LONGEST_WAIT);
    let at = ago.and_then(|ago| now.at.checked_sub(ago)).unwrap_or(now.at);
    Ok((message.bytes, from.ok_or(io::ErrorKind::InvalidData)?, at))
}

/// Nothing lies in the socket for longer, unless the whole machine stood still.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use nix::sys::socket::{setsockopt, sockopt::ReceiveTimestampns};

    #[test]
    fn a_datagram_bears_its_sender_and_when_it_came() {
        let [socket, peer] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        setsockopt(&socket, ReceiveTimestampns, &true).unwrap();
        let before = clock::now();
        peer.send_to(b"report", socket.local_addr().unwrap()).unwrap();
        let mut room = [0; 16];
        socket.peek_from(&mut room).unwrap();
        let after = clock::now();
        // Read half a second later.
        let late = after.after(Duration::from_millis(500));
        let (length, from, at) = receive(&socket, late, &mut room, &mut notes()).unwrap();
        assert_eq!((&room[..length], from), (&b"report"[..], peer.local_addr().unwrap()));
        let slack = Duration::from_millis(20);
        assert!(before.at <= at + slack && at <= after.at + slack, "{:?} {:?}", at - before.at, after.at - before.at);
        // As if the clock had been set by a day: better now than yesterday.
        peer.send_to(b"report", socket.local_addr().unwrap()).unwrap();
        let day = Now { wall: late.wall + Duration::from_secs(86_400), ..late };
        assert_eq!(receive(&socket, day, &mut room, &mut notes()).unwrap().2, day.at);
    }
}
