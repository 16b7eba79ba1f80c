//! One UDP socket per network of this node.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::task::{Context, Poll};

use smol::Async;

/// Datagrams taken from one socket per turn, so that a flood cannot hold the loop.
pub const DATAGRAMS_PER_TURN: usize = 64;

/// A socket bound to one of this node's addresses.
pub struct Socket {
    inner: Async<UdpSocket>,
    family_v4: bool,
    /// Datagrams the kernel would not take: a full queue, no route. The protocol repeats everything.
    pub send_errors: u64,
}

impl Socket {
    /// Binds to the address.
    pub fn bind(ip: IpAddr, port: u16) -> std::io::Result<Socket> {
        let inner = Async::<UdpSocket>::bind(SocketAddr::new(ip, port))?;
        Ok(Socket { inner, family_v4: ip.is_ipv4(), send_errors: 0 })
    }

    /// Can this socket send to such an address at all?
    pub fn reaches(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.family_v4
    }

    /// Sends without waiting; a frame that cannot go now is lost like any other.
    pub fn send(&mut self, frame: &[u8], to: SocketAddr) {
        if self.inner.get_ref().send_to(frame, to).is_err() {
            self.send_errors += 1;
        }
    }

    /// Takes one datagram if there is one. A datagram longer than the buffer is cut and will fail its checks.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        // A pending ICMP error (a peer's port is closed) is reported here once; it says nothing about our own socket.
        for _ in 0..2 {
            match self.inner.get_ref().recv_from(buffer) {
                Ok((length, _)) => return Some(length),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
                Err(_) => {}
            }
        }
        None
    }

    /// Wakes the task when something may be there.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll_readable(cx).map(|_| ())
    }
}
