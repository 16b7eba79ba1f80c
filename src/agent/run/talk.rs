//! Consoles, clients and hooks: what they ask, what they are told.

use std::cell::Cell;

use super::Agent;
use crate::agent::leaving::Leaving;
use crate::agent::peers::Peers;
use crate::agent::reconfigure::because;
use crate::agent::{memory, space_facts};
use crate::cli::order::Order;
use crate::cli::render::sentence;
use crate::cli::request::{Request, parse};
use crate::cli::words::gate_line;
use crate::cli::{AgentFacts, Counter, Memory, Snapshot, socket};
use crate::drv::{clock, process};
use crate::heuristics::Tracker;
use crate::wire::Refusal;

/// Between two lines that say why the gate is shut.
pub(super) const GATE_LINE_MS: u64 = 5_000;

impl Agent {
    /// Consoles and clients. The snapshot is only made when somebody wants it.
    pub(super) fn talk(&mut self, now_ms: u64) {
        let gate_line_due = now_ms >= self.gate_line_ms;
        if gate_line_due {
            self.gate_line_ms = now_ms + GATE_LINE_MS;
        }
        let events_due = self.journal.ring().next_number() != self.events_told;
        let Agent {
            node,
            machine,
            probes,
            journal,
            hooks,
            cluster,
            configs,
            consoles,
            server,
            plocks,
            leaving,
            pace,
            ..
        } = self;
        let tracker: &Tracker = probes.tracker();
        let (emulated, started_ms, events_told) = (self.emulated, self.started_ms, self.events_told);
        let (started_cpu_ms, obeying) = (self.started_cpu_ms, self.obeying);
        let ordered = Cell::new(None);
        let with_snapshot = |say: &mut dyn FnMut(&Snapshot<'_>)| {
            let status = node.status(now_ms);
            let drops = counters(&machine.peers);
            let facts = AgentFacts {
                cluster,
                version: env!("CARGO_PKG_VERSION"),
                now_ms,
                clock_s: clock::wall_clock_s(),
                uptime_ms: now_ms.saturating_sub(started_ms),
                cpu_ms: process::cpu_ms().saturating_sub(started_cpu_ms),
                memory: memory_facts(),
                pace,
                drops: &drops,
                preempts: journal.preempts(),
                heuristics: tracker,
                mounts: machine.behind.mounts(),
                spaces: &space_facts::gather(node, machine.spaces.as_ref()),
                plocks,
                leaving: leaving.facts(),
                ordered: obeying || ordered.get().is_some(),
                departures: node.departures(),
                old_key: node.settings().nodes.iter().filter(|peer| machine.peers.keys().is_behind(*peer)).collect(),
                emulated,
            };
            say(&Snapshot { status: &status, facts: &facts, traces: journal.ring() });
        };
        if events_due || gate_line_due {
            with_snapshot(&mut |snapshot| {
                for entry in snapshot.traces.since(events_told) {
                    log::info!("{}", sentence(snapshot, entry));
                    hooks.hear(snapshot, entry);
                }
                if gate_line_due && let Some(line) = gate_line(snapshot) {
                    log::info!("{line}");
                }
            });
        }
        hooks.turn();
        let mut applied = None;
        let take_order = |request: &Request, snapshot: &Snapshot<'_>| {
            if let Request::Do(order) = *request
                && order.refusal(snapshot).is_none()
            {
                let whom = match order {
                    Order::Fence(name) | Order::Ack(name) => name.find(snapshot),
                    Order::Leave | Order::LeaveNow | Order::Apply(_) | Order::Reboot => None,
                };
                ordered.set(Some((order, whom)));
            }
        };
        consoles.serve(now_ms, &mut |console, request| {
            with_snapshot(&mut |snapshot| {
                take_order(&request, snapshot);
                console.answer(&request, snapshot);
            });
        });
        if let Some(server) = server {
            server.serve(now_ms, &mut |request, out| {
                if let Some(piece) = request.strip_prefix(socket::CONFIG_PUT) {
                    let piece = piece.split_once(' ').and_then(|(offset, hex)| Some((offset.parse().ok()?, hex)));
                    let done = piece.map_or(Err(because("a piece has an offset and hex digits")), |(offset, hex)| {
                        configs.put(now_ms, offset, hex)
                    });
                    return socket::answer_done(done.as_ref().map(|_| ()).map_err(|why| why.as_str()), out);
                }
                if request == socket::CONFIG_APPLY {
                    let done = match leaving {
                        Leaving::Gone => Err(because("this node has left the cluster")),
                        _ => configs.apply(node, cluster),
                    };
                    socket::answer_done(done.as_ref().map(|_| ()).map_err(|why| why.as_str()), out);
                    applied = done.ok().or(applied.take());
                    return;
                }
                with_snapshot(&mut |snapshot| {
                    take_order(&parse(request), snapshot);
                    // An answer that does not fit is cut short: the client sees that its text ends early.
                    _ = socket::answer(request, snapshot, out);
                });
            });
        }
        consoles.put_lines();
        self.console_pending = consoles.flush();
        self.events_told = self.journal.ring().next_number();
        if let Some(settings) = applied {
            self.apply(&settings);
        }
        if let Some((order, whom)) = ordered.get() {
            self.obey(now_ms, order, whom);
        }
    }
}

/// What was dropped, by reason.
fn counters(peers: &Peers) -> heapless::Vec<Counter, { Refusal::ALL.len() }> {
    peers.drops().iter().map(|(refusal, value)| Counter { name: refusal.name(), value }).collect()
}

fn memory_facts() -> Memory {
    let usage = memory::usage();
    Memory {
        arena: usage.bytes_total as u64,
        used: usage.bytes_used as u64,
        high_water: usage.bytes_used_max as u64,
        resident: process::resident_bytes(),
    }
}
