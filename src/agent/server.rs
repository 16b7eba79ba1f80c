//! The local status socket: an abstract name, one request line per connection, text back.
//!
//! One client is served at a time and for a bounded time; the others wait in the kernel's queue, which is bounded as
//! well. The kernel says who connects: root, the user the agent runs as, or somebody of a group that may look. An abstract name
//! has no file and so no permissions: this is the only guard. Whoever may only look keeps nobody waiting: who says nothing stands
//! aside, and where too many do the one that came first is sent away.

use core::fmt;
use core::task::Context;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use rustix::net::sockopt::socket_peercred;
use rustix::process::getuid;
use smol::Async;

use crate::cli::socket::{self, Access};
use crate::drv::sys;

/// From connecting to the last byte. Less than another client waits meanwhile (`socket::DEADLINE`).
pub const CLIENT_MS_MAX: u64 = 1_000;
const _: () = assert!(2 * CLIENT_MS_MAX <= socket::DEADLINE.as_millis() as u64);
/// In one turn of the loop: clients that never stop asking must not keep it from its heartbeats.
const CLIENTS_PER_TURN: usize = 8;
/// Of those that may only look: so many may have said nothing yet.
const LOOKERS_MAX: usize = 4;
/// Groups of a client that are looked at; of one that is in more only its primary group counts.
const PEER_GROUPS_MAX: usize = 256;

/// An answer under way.
type Answer = heapless::Vec<u8, { socket::ANSWER_BYTES_MAX }>;

/// The socket and its clients.
pub struct Server {
    listener: Async<UnixListener>,
    listener_ready: bool,
    /// The group that may look.
    read_group: Option<u32>,
    client: Option<Client>,
    /// Clients that may only look, and have not said what yet.
    lookers: heapless::Vec<Client, LOOKERS_MAX>,
    answer: Box<Answer>,
}

struct Client {
    stream: Async<UnixStream>,
    access: Access,
    until_ms: u64,
    request: heapless::Vec<u8, { socket::REQUEST_BYTES_MAX }>,
    /// Bytes of the answer already sent; `None` until there is one.
    sent: Option<usize>,
}

impl Server {
    /// Listens on the abstract name; members of the group may look.
    pub fn bind(name: &str, read_group: Option<u32>) -> io::Result<Server> {
        let address = SocketAddr::from_abstract_name(name.as_bytes())?;
        let listener = Async::new(UnixListener::bind_addr(&address)?)?;
        let answer = Box::new(Answer::new());
        Ok(Server { listener, listener_ready: true, read_group, client: None, lookers: heapless::Vec::new(), answer })
    }

    /// Moves the clients on as far as they go without waiting; then the next ones, but not all that may come.
    pub fn serve(&mut self, now_ms: u64, answer: &mut dyn FnMut(&str, &mut dyn fmt::Write)) {
        // There is memory for one answer, and the present client may not have taken all of its own yet.
        let busy = self.client.as_ref().is_some_and(|client| client.sent.is_some());
        self.lookers.retain_mut(|looker| {
            now_ms < looker.until_ms && (busy || !looker.is_over(now_ms, &mut self.answer, answer))
        });
        for _ in 0..CLIENTS_PER_TURN {
            if self.client.is_none() {
                self.accept(now_ms);
            }
            let Some(mut client) = self.client.take() else { return };
            if client.is_over(now_ms, &mut self.answer, answer) {
                continue;
            }
            if client.access == Access::All {
                self.client = Some(client);
                return;
            }
            if self.lookers.is_full() {
                self.lookers.remove(0);
            }
            // There is room.
            let _ = self.lookers.push(client);
        }
    }

    /// When the time of the next client is up.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.client.iter().chain(&self.lookers).map(|client| client.until_ms).min()
    }

    /// Wakes the task when a client, or the listener where nobody is in the way, has something.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let mut ready = match &self.client {
            Some(client) if client.sent.is_some() => return client.stream.poll_writable(cx).is_ready(),
            Some(client) => client.stream.poll_readable(cx).is_ready(),
            None => {
                self.listener_ready = self.listener.poll_readable(cx).is_ready();
                self.listener_ready
            }
        };
        for looker in &self.lookers {
            ready |= looker.stream.poll_readable(cx).is_ready();
        }
        ready
    }

    fn accept(&mut self, now_ms: u64) {
        if !self.listener_ready {
            return;
        }
        let Ok((stream, _)) = self.listener.get_ref().accept() else {
            self.listener_ready = false;
            return;
        };
        let Some(access) = access(&stream, self.read_group) else {
            self.answer.clear();
            let _ = socket::refuse(&mut Out(&mut self.answer));
            // One try: a stranger is owed no patience.
            let _ = stream.set_nonblocking(true).and_then(|()| (&stream).write(&self.answer));
            return;
        };
        if let Ok(stream) = Async::new(stream) {
            let until_ms = now_ms + CLIENT_MS_MAX;
            self.client = Some(Client { stream, access, until_ms, request: heapless::Vec::new(), sent: None });
        }
    }
}

impl Client {
    /// Moves it on. Is it done, one way or the other?
    fn is_over(&mut self, now_ms: u64, answer: &mut Answer, ask: &mut dyn FnMut(&str, &mut dyn fmt::Write)) -> bool {
        let over = now_ms >= self.until_ms || self.advance(answer, ask);
        // A socket takes any answer whole. If it does not, whoever may only look is not waited for.
        over || (self.access == Access::Look && self.sent.is_some())
    }

    fn advance(&mut self, answer: &mut Answer, ask: &mut dyn FnMut(&str, &mut dyn fmt::Write)) -> bool {
        if self.sent.is_none() {
            match self.read_line() {
                Line::Whole(length) => {
                    answer.clear();
                    match core::str::from_utf8(&self.request[..length]) {
                        Ok(request) if self.access.allows(request.trim()) => ask(request.trim(), &mut Out(answer)),
                        Ok(_) => _ = socket::refuse_change(&mut Out(answer)),
                        Err(_) => drop(answer.extend_from_slice(b"the request is not text\n")),
                    }
                    self.sent = Some(0);
                }
                Line::Waiting => return false,
                Line::Gone => return true,
            }
        }
        let Some(sent) = &mut self.sent else { return false };
        while *sent < answer.len() {
            match self.stream.get_ref().write(&answer[*sent..]) {
                Ok(0) => return true,
                Ok(count) => *sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
        true
    }

    fn read_line(&mut self) -> Line {
        loop {
            if let Some(end) = self.request.iter().position(|&byte| byte == b'\n') {
                return Line::Whole(end);
            }
            let mut bytes = [0u8; 64];
            match self.stream.get_ref().read(&mut bytes) {
                // The other side has said all it will: what is there is the request.
                Ok(0) if self.request.is_empty() => return Line::Gone,
                Ok(0) => return Line::Whole(self.request.len()),
                Ok(count) => {
                    if self.request.extend_from_slice(&bytes[..count]).is_err() {
                        return Line::Gone;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Line::Waiting,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Line::Gone,
            }
        }
    }
}

/// What whoever is at the other end may ask; `None`: nothing.
fn access(stream: &UnixStream, read_group: Option<u32>) -> Option<Access> {
    let peer = socket_peercred(stream).ok()?;
    if socket::may_ask(peer.uid.as_raw(), getuid().as_raw()) {
        return Some(Access::All);
    }
    let group = read_group?;
    let mut groups = [0; PEER_GROUPS_MAX];
    let count = sys::peer_groups(stream.as_fd(), &mut groups).unwrap_or(0);
    (peer.gid.as_raw() == group || groups[..count].contains(&group)).then_some(Access::Look)
}

enum Line {
    Whole(usize),
    Waiting,
    Gone,
}

/// Collects an answer; what does not fit is an error for the renderer.
struct Out<'a>(&'a mut Answer);

impl fmt::Write for Out<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(name: &str) -> UnixStream {
        UnixStream::connect_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn a_line_is_answered_and_a_silent_client_is_cut_off_in_time() {
        let name = format!("quorate-test-{}", std::process::id());
        let mut server = Server::bind(&name, None).unwrap();
        let mut answer = |request: &str, out: &mut dyn fmt::Write| writeln!(out, "you said {request}").unwrap();
        let silent = connect(&name);
        let mut client = connect(&name);
        client.write_all(b"status\n").unwrap();
        server.serve(0, &mut answer);
        assert_eq!(server.deadline_ms(), Some(CLIENT_MS_MAX));
        server.serve(CLIENT_MS_MAX, &mut answer);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "you said status\n");
        drop(silent);
    }

    #[test]
    fn a_crowd_is_served_over_several_turns() {
        let name = format!("quorate-test-crowd-{}", std::process::id());
        let mut server = Server::bind(&name, None).unwrap();
        let crowd: Vec<UnixStream> = (0..CLIENTS_PER_TURN + 1).map(|_| connect(&name)).collect();
        crowd.iter().for_each(|mut client| client.write_all(b"status\n").unwrap());
        let mut served = 0;
        let mut serve = || {
            server.serve(0, &mut |_, _| served += 1);
            served
        };
        assert_eq!(serve(), CLIENTS_PER_TURN);
        assert_eq!(serve(), CLIENTS_PER_TURN + 1);
    }
}
