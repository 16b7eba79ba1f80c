//! An ICMP echo and its reply, over a raw socket; where that is not allowed, over one of the kernel's ping sockets.
//!
//! A raw socket sees the replies to everybody's echoes, so a reply must have our identifier, our sequence number and the
//! random number that this echo carried. RFC 792 and RFC 4443 have the layout: type, code, checksum, identifier,
//! sequence number, data.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};

use super::clock;
use crate::heuristics::Outcome;

const ECHO_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const ECHO_V6: u8 = 128;
const REPLY_V6: u8 = 129;
const HEADER_BYTES: usize = 8;
const ECHO_BYTES: usize = HEADER_BYTES + 8;
/// An IPv4 header with all its options, and an echo. What is longer is cut, and is not ours.
const PACKET_BYTES_MAX: usize = 60 + ECHO_BYTES;

/// One that was lost must not decide, nor one whose reply found the socket full of others' replies: the echo is sent again, as ping(8)
/// does.
const ECHO_AGAIN: Duration = Duration::from_secs(1);

/// How a packet looks on this socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Received with its IPv4 header.
    RawV4,
    /// Without a header; the kernel makes the checksum.
    RawV6,
    /// A ping socket: no header, and the kernel puts an identifier of its own in place of ours.
    Ping { v4: bool },
}

/// What tells our reply from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token {
    identifier: u16,
    sequence: u16,
    nonce: u64,
}

/// Sends an echo, again every second, and waits for a reply.
pub fn ping(target: IpAddr, sequence: u16, timeout: Duration) -> Outcome {
    let nonce = clock::random_u64();
    let token = Token { identifier: std::process::id() as u16, sequence, nonce };
    match exchange(target, token, timeout) {
        Ok(true) => Outcome::Good,
        Ok(false) => Outcome::Late,
        Err(error) => Outcome::Os(error.raw_os_error()),
    }
}

/// Was there a reply in time?
fn exchange(target: IpAddr, token: Token, timeout: Duration) -> Result<bool, Errno> {
    let until = Instant::now() + timeout;
    let (socket, form) = open(target)?;
    // The kernel then drops what comes from other addresses, and tells us of a host that cannot be reached.
    rustix::net::connect(&socket, &SocketAddr::new(target, 0))?;
    let mut packet = [0; PACKET_BYTES_MAX];
    let mut echo_at = Instant::now();
    loop {
        if Instant::now() >= echo_at {
            rustix::net::send(&socket, &echo(form, token), SendFlags::empty())?;
            echo_at += ECHO_AGAIN;
        }
        match rustix::net::recv(&socket, &mut packet, RecvFlags::empty()) {
            Ok((length, _)) if is_reply(form, &packet[..length.min(PACKET_BYTES_MAX)], token) => return Ok(true),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_for(&socket, until.min(echo_at))?,
            Err(error) => return Err(error),
        }
        // Also when others' replies keep coming: a flood must not hold the thread.
        if Instant::now() >= until {
            return Ok(false);
        }
    }
}

fn open(target: IpAddr) -> Result<(OwnedFd, Form), Errno> {
    let v4 = target.is_ipv4();
    let (family, protocol): (AddressFamily, Protocol) =
        if v4 { (AddressFamily::INET, ipproto::ICMP) } else { (AddressFamily::INET6, ipproto::ICMPV6) };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    match rustix::net::socket_with(family, SocketType::RAW, flags, Some(protocol)) {
        Ok(socket) => Ok((socket, if v4 { Form::RawV4 } else { Form::RawV6 })),
        Err(Errno::PERM | Errno::ACCESS) => {
            let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, Some(protocol))?;
            Ok((socket, Form::Ping { v4 }))
        }
        Err(error) => Err(error),
    }
}

fn wait_for(socket: &OwnedFd, until: Instant) -> Result<(), Errno> {
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&left)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

fn echo(form: Form, token: Token) -> [u8; ECHO_BYTES] {
    let v4 = matches!(form, Form::RawV4 | Form::Ping { v4: true });
    let mut packet = [0; ECHO_BYTES];
    packet[0] = if v4 { ECHO_V4 } else { ECHO_V6 };
    packet[4..6].copy_from_slice(&token.identifier.to_be_bytes());
    packet[6..8].copy_from_slice(&token.sequence.to_be_bytes());
    packet[HEADER_BYTES..].copy_from_slice(&token.nonce.to_be_bytes());
    // Elsewhere the kernel makes it; the one of ICMPv6 covers addresses that are not chosen yet.
    if form == Form::RawV4 {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

fn is_reply(form: Form, packet: &[u8], token: Token) -> bool {
    let skip = match (form, packet.first()) {
        // Its low nibble is the header's length in words.
        (Form::RawV4, Some(first)) => usize::from(first & 15) * 4,
        _ => 0,
    };
    let kind = if matches!(form, Form::RawV4 | Form::Ping { v4: true }) { REPLY_V4 } else { REPLY_V6 };
    let Some(icmp) = packet.get(skip..).filter(|icmp| icmp.len() >= ECHO_BYTES) else { return false };
    let number = |at: usize| u16::from_be_bytes([icmp[at], icmp[at + 1]]);
    let ours = matches!(form, Form::Ping { .. }) || number(4) == token.identifier;
    icmp[0] == kind
        && icmp[1] == 0
        && ours
        && number(6) == token.sequence
        && icmp[HEADER_BYTES..ECHO_BYTES] == token.nonce.to_be_bytes()
}

/// RFC 1071, over a whole number of 16-bit words.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = Token { identifier: 0x1234, sequence: 7, nonce: 0x0102_0304_0506_0708 };

    fn reply(form: Form) -> Vec<u8> {
        let mut packet = if form == Form::RawV4 { vec![0x45; 20] } else { Vec::new() };
        let mut icmp = echo(form, TOKEN);
        icmp[0] = if icmp[0] == ECHO_V4 { REPLY_V4 } else { REPLY_V6 };
        packet.extend(icmp);
        packet
    }

    #[test]
    fn only_the_reply_to_this_very_echo_counts() {
        for form in [Form::RawV4, Form::RawV6, Form::Ping { v4: true }, Form::Ping { v4: false }] {
            let good = reply(form);
            assert!(is_reply(form, &good, TOKEN), "{form:?}");
            assert!(!is_reply(form, &good, Token { sequence: 6, ..TOKEN }), "an older one");
            assert!(!is_reply(form, &good, Token { nonce: 1, ..TOKEN }), "somebody else's");
            let mine = is_reply(form, &good, Token { identifier: 1, ..TOKEN });
            assert_eq!(mine, matches!(form, Form::Ping { .. }), "there the kernel sorts by identifier");
            for length in 0..good.len() {
                assert!(!is_reply(form, &good[..length], TOKEN), "{form:?} cut to {length}");
            }
            let at = good.len() - ECHO_BYTES;
            for (byte, value) in [(0, 3), (0, ECHO_V4), (0, ECHO_V6), (1, 1)] {
                let mut bad = good.clone();
                bad[at + byte] = value;
                assert!(!is_reply(form, &bad, TOKEN), "{form:?}: byte {byte} is {value}");
            }
        }
    }

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&echo(Form::RawV4, TOKEN)), 0, "with its own sum it adds up to nothing");
    }
}
