//! Just enough of rtnetlink to give an interface its address in an image that has no `ip`: link up, add address.
//! Bytes are built by hand: two messages with two attributes each need no library.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType};

// linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h, linux/if.h
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;
const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const HEADER_BYTES: usize = 16;

/// A request that grows.
type Request = heapless::Vec<u8, 128>;

/// Brings an interface up.
pub fn link_up(index: u32) -> io::Result<()> {
    exchange(&link_up_request(index))
}

/// Gives an interface an address; giving it again changes nothing.
pub fn add_address(index: u32, ip: IpAddr, prefix: u8) -> io::Result<()> {
    exchange(&address_request(index, ip, prefix))
}

fn link_up_request(index: u32) -> Request {
    let mut request = header(RTM_NEWLINK, 0);
    put(&mut request, &[0, 0, 0, 0]); // ifi_family, padding, ifi_type
    put(&mut request, &index.to_ne_bytes());
    put(&mut request, &IFF_UP.to_ne_bytes());
    put(&mut request, &IFF_UP.to_ne_bytes()); // ifi_change: this flag only
    finish(request)
}

fn address_request(index: u32, ip: IpAddr, prefix: u8) -> Request {
    let mut request = header(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
    let family = if ip.is_ipv4() { AF_INET } else { AF_INET6 };
    // No duplicate address detection: it would keep a v6 address tentative while the cluster waits for it.
    put(&mut request, &[family, prefix, IFA_F_NODAD, 0]);
    put(&mut request, &index.to_ne_bytes());
    match ip {
        IpAddr::V4(v4) => {
            attribute(&mut request, IFA_LOCAL, &v4.octets());
            attribute(&mut request, IFA_ADDRESS, &v4.octets());
        }
        IpAddr::V6(v6) => {
            attribute(&mut request, IFA_LOCAL, &v6.octets());
            attribute(&mut request, IFA_ADDRESS, &v6.octets());
        }
    }
    finish(request)
}

fn header(kind: u16, flags: u16) -> Request {
    let mut request = Request::new();
    put(&mut request, &[0; 4]); // length, filled in by `finish`
    put(&mut request, &kind.to_ne_bytes());
    put(&mut request, &(NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
    put(&mut request, &1u32.to_ne_bytes()); // sequence
    put(&mut request, &0u32.to_ne_bytes()); // port: the kernel fills it in
    request
}

fn attribute(request: &mut Request, kind: u16, value: &[u8]) {
    put(request, &(4 + value.len() as u16).to_ne_bytes());
    put(request, &kind.to_ne_bytes());
    put(request, value);
}

fn put(request: &mut Request, bytes: &[u8]) {
    request.extend_from_slice(bytes).expect("two attributes of 16 bytes fit 128 bytes");
}

fn finish(mut request: Request) -> Request {
    let length = request.len() as u32;
    request[..4].copy_from_slice(&length.to_ne_bytes());
    request
}

fn exchange(request: &[u8]) -> io::Result<()> {
    let socket: OwnedFd = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    rustix::net::sendto(&socket, request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0u8; 512];
    let (length, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    acknowledged(&answer[..length])
}

/// NLMSG_ERROR with 0 is the acknowledgement.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "an rtnetlink answer that is no acknowledgement");
    let field = |at: usize| answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    let kind = u16::from_ne_bytes(answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).ok_or_else(malformed)?);
    if kind != NLMSG_ERROR {
        return Err(malformed());
    }
    match i32::from_ne_bytes(field(HEADER_BYTES).ok_or_else(malformed)?) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_are_laid_out_as_the_kernel_wants_them() {
        let link = link_up_request(2);
        assert_eq!((link.len(), &link[..4], &link[20..24]), (32, &32u32.to_ne_bytes()[..], &2u32.to_ne_bytes()[..]));
        let address = address_request(2, "10.0.0.5".parse().unwrap(), 24);
        assert_eq!(address.len(), HEADER_BYTES + 8 + 2 * 8);
        assert_eq!(&address[16..20], &[AF_INET, 24, IFA_F_NODAD, 0]);
        assert_eq!(&address[28..32], &[10, 0, 0, 5]);
        assert_eq!(address_request(2, "fd00::5".parse().unwrap(), 64).len(), HEADER_BYTES + 8 + 2 * 20);
    }

    #[test]
    fn the_kernels_refusal_is_an_error() {
        let mut answer = [0u8; 36];
        answer[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        assert!(acknowledged(&answer).is_ok());
        answer[16..20].copy_from_slice(&(-19i32).to_ne_bytes());
        assert_eq!(acknowledged(&answer).unwrap_err().raw_os_error(), Some(19));
        assert!(acknowledged(&answer[..7]).is_err());
    }
}
