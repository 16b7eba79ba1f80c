//! The one machine beyond the VMs that their heuristics ping: answers ARP and ICMP echoes at 10.0.0.254, and carries nothing.

use std::net::Ipv4Addr;

/// Where configs/five-node.toml looks for it.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
/// QEMU's prefix, zeros, the last byte of the address: no node has it.
pub const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0xfe];

const ETHERNET_BYTES: usize = 14;
const ARP: [u8; 2] = [0x08, 0x06];
const IPV4: [u8; 2] = [0x08, 0x00];
const ICMP: u8 = 1;
const ECHO: u8 = 8;

/// What it says to a frame; `None` = nothing.
pub fn answer(frame: &[u8], answers_pings: bool) -> Option<Vec<u8>> {
    let (head, body) = frame.split_at_checked(ETHERNET_BYTES)?;
    let reply = match [head[12], head[13]] {
        ARP => arp(body)?,
        IPV4 if head[..6] == MAC && answers_pings => echo(body)?,
        _ => return None,
    };
    Some([&head[6..12], &MAC, &head[12..], &reply].concat())
}

/// RFC 826: kinds and lengths, what for, then hardware and protocol address of sender and of target.
fn arp(body: &[u8]) -> Option<Vec<u8>> {
    let question = body.get(..28)?;
    if question[..8] != [0, 1, 8, 0, 6, 4, 0, 1] || question[24..28] != ADDRESS.octets() {
        return None;
    }
    Some([&[0, 1, 8, 0, 6, 4, 0, 2], &MAC[..], &ADDRESS.octets(), &question[8..18]].concat())
}

/// RFC 791 and 792: addresses change places and an echo becomes a reply. Swapping two addresses leaves the header's
/// checksum as it was; the type's eight less in the first word of ICMP is eight more in its checksum.
fn echo(body: &[u8]) -> Option<Vec<u8>> {
    let words = usize::from(body.first()? & 15) * 4;
    let (header, icmp) = body.split_at_checked(words)?;
    if header.len() < 20 || header[9] != ICMP || header[16..20] != ADDRESS.octets() || icmp.len() < 8 || icmp[0] != ECHO
    {
        return None;
    }
    let mut reply = body.to_vec();
    reply[12..16].copy_from_slice(&header[16..20]);
    reply[16..20].copy_from_slice(&header[12..16]);
    reply[words] = 0;
    // RFC 1624: one's complement arithmetic carries around.
    let sum = u32::from(u16::from_be_bytes([icmp[2], icmp[3]])) + (u32::from(ECHO) << 8);
    let sum = (sum & 0xffff) + (sum >> 16);
    reply[words + 2..words + 4].copy_from_slice(&(sum as u16).to_be_bytes());
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(bytes: &[u8]) -> u16 {
        let sum: u32 = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        !((sum & 0xffff) + (sum >> 16)) as u16
    }

    fn packet(from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
        let mut header = [&[0x45, 0, 0, 36, 0, 1, 0, 0, 64, ICMP, 0, 0][..], &from, &to].concat();
        let sum = checksum(&header).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
        let mut icmp = vec![ECHO, 0, 0, 0, 0x12, 0x34, 0, 7, 0xff, 0xff, 0xff, 0xff, 0xf7, 0xff, 1, 2];
        let sum = checksum(&icmp).to_be_bytes();
        icmp[2..4].copy_from_slice(&sum);
        [header, icmp].concat()
    }

    #[test]
    fn pings_are_answered_unless_dropped() {
        let node = [0x52, 0x54, 0, 0, 0, 1];
        let frame = |to: [u8; 4]| [&MAC[..], &node, &IPV4, &packet([10, 0, 0, 1], to)].concat();
        let reply = answer(&frame(ADDRESS.octets()), true).unwrap();
        assert_eq!((&reply[..6], &reply[6..12]), (&node[..], &MAC[..]));
        assert_eq!((&reply[26..30], &reply[30..34]), (&ADDRESS.octets()[..], &[10, 0, 0, 1][..]));
        assert_eq!((checksum(&reply[14..34]), checksum(&reply[34..]), reply[34]), (0, 0, 0));
        assert_eq!(reply[38..], frame(ADDRESS.octets())[38..], "identifier, number and data come back");
        assert_eq!(answer(&frame(ADDRESS.octets()), false), None);
        assert_eq!(answer(&frame([10, 0, 0, 2]), true), None, "it carries nothing");
        for length in 0..frame(ADDRESS.octets()).len() {
            let _ = answer(&frame(ADDRESS.octets())[..length], true);
        }
    }

    #[test]
    fn it_says_where_it_is_and_not_where_others_are() {
        let node = [0x52, 0x54, 0, 0, 0, 1];
        let question = |target: [u8; 4]| {
            let body = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &node, &[10, 0, 0, 1], &[0; 6], &target].concat();
            [&[0xff; 6][..], &node, &ARP, &body].concat()
        };
        let reply = answer(&question(ADDRESS.octets()), false).unwrap();
        let body = [&[0, 1, 8, 0, 6, 4, 0, 2], &MAC[..], &ADDRESS.octets(), &node, &[10, 0, 0, 1]].concat();
        assert_eq!(reply, [&node[..], &MAC, &ARP, &body].concat());
        assert_eq!(answer(&question([10, 0, 0, 2]), true), None);
    }
}
