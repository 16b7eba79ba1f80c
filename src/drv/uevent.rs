//! What the kernel announces of its objects: a lockspace that waits to be entered or left, a GFS2 that withdraws.
//!
//! Broadcasts can be lost: the kernel does not wait for a reader, and forgets what does not fit the socket's buffer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recvfrom, socket_with};

use crate::base::SpaceName;

/// The kernel's own broadcasts; group 2 is udev's.
const GROUP: u32 = 1;
/// Room for some 1000 events: a machine announces all its devices at once when it starts, or when a bus is scanned.
const RECEIVE_BYTES: usize = 1 << 20;
/// Bytes of an event: UEVENT_BUFFER_SIZE of linux/kobject.h, and a path.
const EVENT_BYTES_MAX: usize = 8192;

/// An event that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uevent {
    /// A lockspace waits to be entered.
    Online(SpaceName),
    /// A lockspace waits to be left.
    Offline {
        /// Which.
        name: SpaceName,
        /// It must be treated as if this node had failed (RELEASE_RECOVER=1 of newer kernels): a GFS2 that has withdrawn
        /// leaves a journal that nobody has replayed.
        failed: bool,
    },
    /// A GFS2 withdraws and waits for a word.
    Withdraws,
    /// Events were lost.
    Lost,
}

/// The socket that hears them.
pub struct Uevents {
    socket: OwnedFd,
}

impl Uevents {
    /// Hears from now on.
    pub fn open() -> io::Result<Uevents> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
        // Beyond the limit for everybody only with CAP_NET_ADMIN; a smaller buffer loses more, and that is noticed.
        if set_socket_recv_buffer_size_force(&socket, RECEIVE_BYTES).is_err() {
            let _ = set_socket_recv_buffer_size(&socket, RECEIVE_BYTES);
        }
        bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
        Ok(Uevents { socket })
    }

    /// The next event that matters; `None` = no more for now.
    pub fn next(&self) -> Option<Uevent> {
        let mut buffer = [0; EVENT_BYTES_MAX];
        loop {
            match recvfrom(&self.socket, &mut buffer, RecvFlags::empty()) {
                Ok((length, _, from)) => {
                    let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
                    // Port 0 is the kernel; a process may send here as well.
                    if from.is_some_and(|from| from.pid() == 0)
                        && let Some(event) = buffer.get(..length).and_then(parse)
                    {
                        return Some(event);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => return Some(Uevent::Lost),
                Err(_) => return None,
            }
        }
    }
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// `action@path`, then `NAME=value` with a NUL behind each (lib/kobject_uevent.c). `None`: of no interest, or no event.
fn parse(event: &[u8]) -> Option<Uevent> {
    let mut parts = event.split(|&byte| byte == 0);
    // The head: everything in it comes again.
    parts.next().filter(|head| head.contains(&b'@'))?;
    let (mut action, mut subsystem, mut place, mut recover) = (None, None, None, None);
    for part in parts {
        let Some((name, value)) = core::str::from_utf8(part).ok().and_then(|part| part.split_once('=')) else {
            continue;
        };
        match name {
            "ACTION" => action = Some(value),
            "SUBSYSTEM" => subsystem = Some(value),
            "DEVPATH" => place = Some(value),
            "RELEASE_RECOVER" => recover = Some(value),
            _ => {}
        }
    }
    let object = place?.rsplit('/').next()?;
    match (subsystem?, action?) {
        // The object's name is the lockspace's, but for the slashes that a folder's name cannot have.
        ("dlm", "online") => SpaceName::new(object).map(Uevent::Online),
        ("dlm", "offline") => SpaceName::new(object).map(|name| Uevent::Offline { name, failed: recover == Some("1") }),
        ("gfs2", "offline") => Some(Uevent::Withdraws),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(parts: &[&str]) -> Vec<u8> {
        parts.iter().flat_map(|part| part.bytes().chain([0])).collect()
    }

    fn storage() -> SpaceName {
        SpaceName::new("storage").unwrap()
    }

    const ONLINE: [&str; 6] = [
        "online@/kernel/dlm/storage",
        "ACTION=online",
        "DEVPATH=/kernel/dlm/storage",
        "SUBSYSTEM=dlm",
        "LOCKSPACE=storage",
        "SEQNUM=1423",
    ];

    #[test]
    fn a_lockspace_waits_to_be_entered_or_left() {
        assert_eq!(parse(&event(&ONLINE)), Some(Uevent::Online(storage())));
        let offline = |more: &[&str]| {
            let head =
                ["offline@/kernel/dlm/storage", "ACTION=offline", "DEVPATH=/kernel/dlm/storage", "SUBSYSTEM=dlm"];
            parse(&event(&[&head[..], more, &["LOCKSPACE=storage", "SEQNUM=1424"]].concat()))
        };
        assert_eq!(offline(&[]), Some(Uevent::Offline { name: storage(), failed: false }));
        assert_eq!(offline(&["RELEASE_RECOVER=0"]), Some(Uevent::Offline { name: storage(), failed: false }));
        assert_eq!(offline(&["RELEASE_RECOVER=1"]), Some(Uevent::Offline { name: storage(), failed: true }));
    }

    #[test]
    fn a_gfs2_withdraws() {
        let withdraws = event(&[
            "offline@/fs/gfs2/vault:storage",
            "ACTION=offline",
            "DEVPATH=/fs/gfs2/vault:storage",
            "SUBSYSTEM=gfs2",
            "LOCKTABLE=vault:storage",
            "LOCKPROTO=lock_dlm",
            "JOURNALID=0",
            "UUID=6a5a1f1e-3c9e-4b8c-9a94-d3bd1cfa6ac0",
            "SEQNUM=1500",
        ]);
        assert_eq!(parse(&withdraws), Some(Uevent::Withdraws));
    }

    #[test]
    fn other_events_and_garbage_are_nothing() {
        let mut added = ONLINE;
        added[1] = "ACTION=add";
        assert_eq!(parse(&event(&added)), None);
        let mut elsewhere = ONLINE;
        elsewhere[3] = "SUBSYSTEM=block";
        assert_eq!(parse(&event(&elsewhere)), None);
        let mut unfit = ONLINE;
        unfit[2] = "DEVPATH=/kernel/dlm/a name";
        assert_eq!(parse(&event(&unfit)), None);
        assert_eq!(parse(b""), None);
        assert_eq!(
            parse(b"libudev\0\xfe\xed\xca\xfe\0ACTION=online\0SUBSYSTEM=dlm\0DEVPATH=/kernel/dlm/storage\0"),
            None
        );
        assert_eq!(parse(&[0xff; 64]), None);
        let whole = event(&ONLINE);
        for length in 0..whole.len() {
            // What is cut short may lose its last number, never become another event.
            assert!(matches!(parse(&whole[..length]), None | Some(Uevent::Online(_))), "cut to {length}");
        }
    }

    #[test]
    fn nothing_is_heard_of_processes() {
        let Ok(hearer) = Uevents::open() else { return };
        let speaker =
            socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::empty(), Some(KOBJECT_UEVENT));
        let flags = rustix::net::SendFlags::empty();
        let port = rustix::net::getsockname(&hearer.socket).unwrap();
        let _ = rustix::net::sendto(speaker.unwrap(), &event(&ONLINE), flags, &port);
        assert_ne!(hearer.next(), Some(Uevent::Online(storage())));
    }
}
