//! The path from a VM's initiator to one disk of the target, as a TCP relay inside the harness: it can be slowed down, held, cut,
//! and made to fail.
//!
//! It knows as much of iSCSI (RFC 7143) as that takes: where a PDU ends, and where a SCSI command names its LUN and its block. A
//! failure is not made up here: the command is sent on with a block, or a LUN, that does not exist, and the target itself refuses it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// RFC 7143 11.2.1: bytes of a basic header segment.
const HEADER_BYTES: usize = 48;
/// Opcode of a SCSI command (11.3), below the bit that says "immediate".
const SCSI_COMMAND: u8 = 0x01;
/// Where a SCSI command has its LUN, and its CDB (11.3).
const LUN_AT: usize = 8;
const CDB_AT: usize = 32;
/// A LUN that no target of the lab has.
const NO_LUN: [u8; 8] = [0, 99, 0, 0, 0, 0, 0, 0];

/// What the path does with what is sent along it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Carries everything.
    Good,
    /// Every command is sent on so much later.
    Slow(Duration),
    /// Nothing passes, in either direction; what was sent meanwhile arrives late.
    Hang,
    /// Reads and writes are refused by the target: LOGICAL BLOCK ADDRESS OUT OF RANGE. Reservation commands pass.
    Errors,
    /// The target has no such disk any more: LOGICAL UNIT NOT SUPPORTED to every command.
    Gone,
    /// Connections are closed, and new ones as well: the initiator tries again for ever, and its commands wait.
    Cut,
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => out.write_str("good"),
            Self::Slow(by) => write!(out, "{} ms slower", by.as_millis()),
            Self::Hang => out.write_str("hanging"),
            Self::Errors => out.write_str("failing reads and writes"),
            Self::Gone => out.write_str("gone from the target"),
            Self::Cut => out.write_str("cut"),
        }
    }
}

/// One path; dropping it closes what goes along it.
pub struct Relay {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    target: String,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    path: Path,
    closed: bool,
    /// Connections that were ever made.
    sessions: u32,
    /// Both ends of every connection, to close them from outside.
    connections: Vec<[TcpStream; 2]>,
}

impl Relay {
    /// Opens a path to the target's portal (address and port).
    pub fn start(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port for a path to a disk")?;
        let address = listener.local_addr()?;
        let state = State { path: Path::Good, closed: false, sessions: 0, connections: Vec::new() };
        let shared = Arc::new(Shared { target: target.into(), state: Mutex::new(state), changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || theirs.accept(&listener));
        Ok(Self { shared, address, acceptor: Some(acceptor) })
    }

    /// Where an initiator finds the target along this path.
    pub fn portal(&self) -> String {
        self.address.to_string()
    }

    /// How many connections were ever made along it. Each is a session, and a nexus, of its own: QEMU's initiator logs in anew,
    /// under a new name, when a connection is closed, or when it has waited in vain for some 15 seconds.
    pub fn sessions(&self) -> u32 {
        self.shared.state().sessions
    }

    /// From now on the path does this.
    pub fn set(&self, path: Path) {
        let mut state = self.shared.state();
        state.path = path;
        if path == Path::Cut {
            state.close();
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        state.close();
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the acceptor, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            // One that panicked has said so on stderr.
            let _ = acceptor.join();
        }
    }
}

impl State {
    fn close(&mut self) {
        for end in self.connections.drain(..).flatten() {
            // Fails where the other end was faster.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for initiator in listener.incoming().flatten() {
            if self.state().closed {
                return;
            }
            if self.state().path != Path::Cut
                && let Err(error) = self.connect(initiator)
            {
                eprintln!("path to {}: {error}", self.target);
            }
        }
    }

    fn connect(self: &Arc<Self>, initiator: TcpStream) -> io::Result<()> {
        let target = TcpStream::connect(&self.target)?;
        for end in [&initiator, &target] {
            end.set_nodelay(true)?;
        }
        let ends = [initiator.try_clone()?, target.try_clone()?];
        let mut state = self.state();
        state.connections.push(ends);
        state.sessions += 1;
        drop(state);
        let (there, back) = ((initiator.try_clone()?, target.try_clone()?), (target, initiator));
        for (forward, (from, to)) in [(true, there), (false, back)] {
            let shared = Arc::clone(self);
            std::thread::spawn(move || {
                // An end that closes ends both directions; there is nothing to tell.
                let _ = if forward { shared.carry_commands(&from, &to) } else { shared.carry_answers(&from, &to) };
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
                shared.state().connections.retain(|ends| ends.iter().all(|end| end.peer_addr().is_ok()));
            });
        }
        Ok(())
    }

    fn carry_commands(&self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        let mut pdu = vec![0; HEADER_BYTES];
        loop {
            pdu.resize(HEADER_BYTES, 0);
            from.read_exact(&mut pdu)?;
            pdu.resize(HEADER_BYTES + rest_bytes(&pdu), 0);
            from.read_exact(&mut pdu[HEADER_BYTES..])?;
            let path = self.passed(is_command(&pdu))?;
            spoil(&mut pdu, path);
            to.write_all(&pdu)?;
        }
    }

    fn carry_answers(&self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        let mut bytes = vec![0; 0x1_0000];
        loop {
            let count = from.read(&mut bytes)?;
            if count == 0 {
                return Ok(());
            }
            self.passed(false)?;
            to.write_all(&bytes[..count])?;
        }
    }

    /// Waits for as long as the path holds something back, and says what it is after that.
    fn passed(&self, command: bool) -> io::Result<Path> {
        let arrived = Instant::now();
        let mut state = self.state();
        loop {
            if state.closed {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let wait = match state.path {
                Path::Hang => None,
                Path::Slow(by) if command => Some(by.saturating_sub(arrived.elapsed())),
                _ => Some(Duration::ZERO),
            };
            state = match wait {
                Some(Duration::ZERO) => return Ok(state.path),
                Some(left) => self.changed.wait_timeout(state, left).expect("no holder of the lock panics").0,
                None => self.changed.wait(state).expect("no holder of the lock panics"),
            };
        }
    }
}

fn is_command(pdu: &[u8]) -> bool {
    pdu[0] & 0x3f == SCSI_COMMAND
}

/// 11.2.1: what follows the header, without digests, which the lab's initiators do without: additional headers in words, data padded to a word.
fn rest_bytes(header: &[u8]) -> usize {
    let data = usize::from(header[5]) << 16 | usize::from(header[6]) << 8 | usize::from(header[7]);
    usize::from(header[4]) * 4 + data.next_multiple_of(4)
}

/// Makes a command one that the target refuses.
fn spoil(pdu: &mut [u8], path: Path) {
    if !is_command(pdu) {
        return;
    }
    match path {
        Path::Gone => pdu[LUN_AT..][..8].copy_from_slice(&NO_LUN),
        Path::Errors => {
            let cdb = &mut pdu[CDB_AT..][..16];
            // SBC-4: READ and WRITE of 6, 10, 12 and 16 bytes. The last block that each can name is beyond any disk of the lab.
            match cdb[0] {
                0x08 | 0x0a => cdb[1..4].copy_from_slice(&[0x1f, 0xff, 0xff]),
                0x28 | 0x2a | 0xa8 | 0xaa => cdb[2..6].fill(0xff),
                0x88 | 0x8a => cdb[2..10].copy_from_slice(&u64::from(u32::MAX).to_be_bytes()),
                _ => {}
            }
        }
        Path::Good | Path::Slow(_) | Path::Hang | Path::Cut => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(operation: u8) -> Vec<u8> {
        let mut pdu = vec![0; HEADER_BYTES];
        (pdu[0], pdu[LUN_AT + 1], pdu[CDB_AT]) = (0x41, 1, operation);
        pdu
    }

    /// A path, an initiator's end of it, and the target's.
    fn open() -> (Relay, TcpStream, TcpStream) {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::start(&target.local_addr().unwrap().to_string()).unwrap();
        let initiator = TcpStream::connect(relay.portal()).unwrap();
        let served = target.accept().unwrap().0;
        (relay, initiator, served)
    }

    fn arrives(mut end: &TcpStream, within: Duration) -> bool {
        end.set_read_timeout(Some(within)).unwrap();
        matches!(end.read(&mut [0; 256]), Ok(count) if count > 0)
    }

    #[test]
    fn what_hangs_arrives_when_the_path_is_good_again() {
        let (relay, mut initiator, mut target) = open();
        let (soon, in_time) = (Duration::from_millis(100), Duration::from_secs(10));
        initiator.write_all(&command(0x2a)).unwrap();
        assert!(arrives(&target, in_time));
        for path in [Path::Hang, Path::Slow(Duration::from_secs(3600))] {
            relay.set(path);
            initiator.write_all(&command(0x2a)).unwrap();
            assert!(!arrives(&target, soon), "{path}");
            relay.set(Path::Good);
            assert!(arrives(&target, in_time), "{path}");
        }
        relay.set(Path::Hang);
        target.write_all(b"answer").unwrap();
        assert!(!arrives(&initiator, soon));
        relay.set(Path::Good);
        assert!(arrives(&initiator, in_time));
    }

    #[test]
    fn a_cut_closes_what_is_open_and_what_comes() {
        let (relay, initiator, target) = open();
        // The target may have accepted before the relay has counted.
        let deadline = Instant::now() + Duration::from_secs(10);
        while relay.sessions() == 0 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(relay.sessions(), 1);
        relay.set(Path::Cut);
        for mut end in [&initiator, &target] {
            assert_eq!(end.read(&mut [0; 8]).unwrap(), 0);
        }
        let again = TcpStream::connect(relay.portal()).unwrap();
        assert!(!arrives(&again, Duration::from_secs(10)));
        assert_eq!(relay.sessions(), 1);
    }

    #[test]
    fn a_pdu_with_data_goes_through_in_one_piece() {
        let (_relay, mut initiator, mut target) = open();
        let mut pdu = command(0x2a);
        (pdu[4], pdu[7]) = (1, 5);
        assert_eq!(rest_bytes(&pdu), 4 + 8);
        pdu.extend(1..=12);
        initiator.write_all(&[pdu.clone(), command(0x28)].concat()).unwrap();
        let mut got = vec![0; pdu.len() + HEADER_BYTES];
        target.read_exact(&mut got).unwrap();
        assert_eq!(got, [pdu, command(0x28)].concat());
    }

    #[test]
    fn only_reads_and_writes_fail_and_every_command_misses_a_disk_that_is_gone() {
        for operation in [0x08, 0x0a, 0x28, 0x2a, 0xa8, 0xaa, 0x88, 0x8a] {
            let mut pdu = command(operation);
            spoil(&mut pdu, Path::Errors);
            assert_ne!(pdu, command(operation), "{operation:#x}");
            assert_eq!(pdu[..CDB_AT + 1], command(operation)[..CDB_AT + 1]);
        }
        // PERSISTENT RESERVE OUT.
        let mut pdu = command(0x5f);
        spoil(&mut pdu, Path::Errors);
        assert_eq!(pdu, command(0x5f));
        spoil(&mut pdu, Path::Gone);
        assert_eq!(pdu[LUN_AT + 1], 99);
        // Not a command: a NOP-Out names a LUN as well.
        let mut nop = vec![0; HEADER_BYTES];
        spoil(&mut nop, Path::Gone);
        assert_eq!(nop, [0; HEADER_BYTES]);
    }
}
