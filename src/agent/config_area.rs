//! Configurations on the quorum disk: the coordinator keeps the one in force there, and who lacks one that a view names looks for it.
//!
//! A thread of its own, so that a disk that hangs keeps nothing else waiting. What it writes late does no harm: `disk::config_area`.

use std::io;
use std::task::{Context, Poll};

use super::disks::Opener;
use super::reconfigure::{Blob, Configs, Refusal, because};
use super::worker::Worker;
use crate::base::{ConfigStamp, Key};
use crate::cluster::Node;
use crate::drv::config_area::{AreaError, copy_memory};
use crate::wire::keys::KEYS;

/// The view has stood for so long before its configuration is kept: there is no hurry, and a fence may be under way.
const KEEP_AFTER_MS: u64 = 2_000;
/// Between two tries where the disk said no.
const AGAIN_MS: u64 = 30_000;
/// Between two looks.
const LOOK_MS: u64 = 2_000;

/// The quorum disk as this thread needs it.
pub trait Area: Send {
    /// Sees to it that this copy of a configuration is there.
    fn write(
        &mut self,
        config: ConfigStamp,
        copy: usize,
        blob: &[u8],
        key: &Key,
        memory: &mut [u8],
    ) -> Result<(), AreaError>;
    /// Sees to it that nothing is in the place of this copy of a configuration of this version.
    fn wipe(&mut self, version: u32, copy: usize, memory: &mut [u8]) -> Result<(), AreaError>;
    /// The blob of this configuration.
    fn read<'m>(
        &mut self,
        config: ConfigStamp,
        keys: &[Option<Key>],
        memory: &'m mut [u8],
    ) -> Result<Option<&'m [u8]>, AreaError>;
}

/// The one buffer travels to the thread and back.
struct Job {
    config: ConfigStamp,
    blob: Box<Blob>,
    what: What,
}

enum What {
    Write {
        copy: usize,
        key: Key,
    },
    /// Of this version.
    Wipe {
        version: u32,
        copy: usize,
    },
    Read([Option<Key>; KEYS]),
}

struct Done {
    config: ConfigStamp,
    blob: Box<Blob>,
    what: Did,
}

enum Did {
    Kept,
    Found,
    Nothing,
    Failed(Refusal),
}

/// The loop's end.
pub struct ConfigArea {
    thread: Worker<Job, Done>,
    blob: Option<Box<Blob>>,
    /// What is being kept, and how many of the steps are done.
    kept: (ConfigStamp, u32),
    /// Not before.
    keep_ms: Option<u64>,
    look_ms: u64,
    told: Refusal,
}

impl ConfigArea {
    /// Starts the thread, with all the memory that it needs; the device is opened for each job, of which there are few.
    pub fn start(mut opener: Opener<dyn Area>) -> io::Result<ConfigArea> {
        let mut memory = copy_memory();
        let thread = Worker::start_ordinary("config", move |job| run(job, &mut opener, &mut memory))?;
        Ok(ConfigArea {
            thread,
            blob: Some(Box::new(Blob::new())),
            kept: (ConfigStamp::NONE, 0),
            keep_ms: None,
            look_ms: 0,
            told: Refusal::new(),
        })
    }

    /// Ready when the thread has done something.
    pub fn poll_done(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.thread.poll_done(cx)
    }

    /// Takes what the thread has done, whoever wants it still, and gives it something to do, but for a node that leaves, which writes to no
    /// disk any more. A configuration that was looked for and found: its blob, covered.
    pub fn turn(
        &mut self,
        now_ms: u64,
        stays: bool,
        node: &Node,
        configs: &mut Configs,
        keys: &[Option<Key>; KEYS],
    ) -> Option<(ConfigStamp, &Blob)> {
        let found = self.take_done(now_ms);
        if !stays {
            return None;
        }
        let wanted = node.wanted_config().filter(|wanted| configs.may_try(now_ms, *wanted));
        if found.is_none() && self.blob.is_some() {
            match wanted {
                Some(config) => self.look(now_ms, config, keys),
                None => self.keep(now_ms, node, configs),
            }
        }
        found.and_then(|config| Some((config, self.blob.as_deref()?)))
    }

    /// A configuration that was found.
    fn take_done(&mut self, now_ms: u64) -> Option<ConfigStamp> {
        let Done { config, blob, what } = self.thread.collect()?;
        self.blob = Some(blob);
        match what {
            Did::Found => return Some(config),
            Did::Nothing => {}
            Did::Kept => self.kept = (config, if self.kept.0 == config { self.kept.1 + 1 } else { 1 }),
            Did::Failed(why) => {
                (self.keep_ms, self.look_ms) = (Some(now_ms + AGAIN_MS), now_ms + AGAIN_MS);
                if self.told != why {
                    log::warn!("the quorum disk keeps no configuration for nodes with older images: {why}");
                    self.told = why;
                }
            }
        }
        None
    }

    fn look(&mut self, now_ms: u64, config: ConfigStamp, keys: &[Option<Key>; KEYS]) {
        if now_ms >= self.look_ms {
            self.look_ms = now_ms + LOOK_MS;
            self.submit(config, What::Read(keys.clone()));
        }
    }

    /// The coordinator of a released view that stands by the configuration in force. First what nodes with older images need; and of
    /// what the key before covers nothing is left that this configuration does not want there.
    fn keep(&mut self, now_ms: u64, node: &Node, configs: &mut Configs) {
        let config = node.settings().stamp();
        let leads = node.coordinator() == Some(node.id())
            && node.followed().is_some_and(|(view, released)| released && view.config == config);
        if !leads {
            self.kept.0 = ConfigStamp::NONE;
            self.keep_ms = None;
            return;
        }
        if now_ms < *self.keep_ms.get_or_insert(now_ms + KEEP_AFTER_MS) {
            return;
        }
        let Some(blob) = &mut self.blob else { return };
        let what = match if self.kept.0 == config { self.kept.1 } else { 0 } {
            0 => match configs.cover_running(1, blob) {
                Some(key) => What::Write { copy: 1, key },
                None => What::Wipe { version: config.version, copy: 1 },
            },
            1 => match configs.cover_running(0, blob) {
                Some(key) => What::Write { copy: 0, key },
                None => return,
            },
            2 => What::Wipe { version: config.version.wrapping_add(1), copy: 1 },
            _ => return,
        };
        self.submit(config, what);
    }

    fn submit(&mut self, config: ConfigStamp, what: What) {
        let Some(blob) = self.blob.take() else { return };
        if let Err(job) = self.thread.submit(Job { config, blob, what }) {
            self.blob = Some(job.blob);
        }
    }
}

fn run(job: Job, opener: &mut Opener<dyn Area>, memory: &mut [u8]) -> Done {
    let Job { config, mut blob, what } = job;
    let mut work = || -> Result<Did, Refusal> {
        let mut device = opener().map_err(because)?;
        match &what {
            What::Write { copy, key } => {
                device.write(config, *copy, &blob, key, memory).map_err(because)?;
                Ok(Did::Kept)
            }
            What::Wipe { version, copy } => {
                device.wipe(*version, *copy, memory).map_err(because)?;
                Ok(Did::Kept)
            }
            What::Read(keys) => match device.read(config, keys, memory).map_err(because)? {
                Some(found) => {
                    blob.clear();
                    Ok(if blob.extend_from_slice(found).is_ok() { Did::Found } else { Did::Nothing })
                }
                None => Ok(Did::Nothing),
            },
        }
    };
    let what = work().unwrap_or_else(Did::Failed);
    Done { config, blob, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::view::Incarnations;
    use crate::base::{Incarnation, NodeId, NodeSet, Nonce, Phase, Term, View, ViewId};
    use crate::cluster::Settings;
    use crate::cluster::event::{Actions, Boot, Event};
    use crate::config::build::Loopback;
    use crate::drv::block::BlockError;
    use crate::wire::Message;

    const CONFIG: ConfigStamp = ConfigStamp { version: 2, digest: 9 };

    /// Says what it has, or no.
    struct Fake(Option<&'static [u8]>);

    impl Area for Fake {
        fn write(&mut self, _: ConfigStamp, _: usize, _: &[u8], _: &Key, _: &mut [u8]) -> Result<(), AreaError> {
            self.0.map(drop).ok_or(AreaError::Disk(BlockError::NotADisk))
        }

        fn wipe(&mut self, _: u32, _: usize, _: &mut [u8]) -> Result<(), AreaError> {
            Ok(())
        }

        fn read<'m>(
            &mut self,
            _: ConfigStamp,
            _: &[Option<Key>],
            _: &'m mut [u8],
        ) -> Result<Option<&'m [u8]>, AreaError> {
            self.0.map(|blob| (!blob.is_empty()).then_some(blob)).ok_or(AreaError::Disk(BlockError::NotADisk))
        }
    }

    fn job(what: What) -> Job {
        Job { config: CONFIG, blob: Box::new(Blob::from_slice(b"stale").unwrap()), what }
    }

    fn read() -> Job {
        job(What::Read([None, None, None]))
    }

    /// Node 1, which has the first configuration; its peer has committed a view by the second.
    fn without_its_configuration() -> (Node, Configs) {
        let plan = Loopback { name: "a", id: 1, nodes: 2, first_port: 9000, key: [7; 32], data: "d", qdisk: None };
        let cluster = plan.cluster().unwrap();
        let [me, peer] = [1, 2].map(|number| NodeId::new(number).unwrap());
        let boot = Boot { node: me, nonce: Nonce(1), boot_id: 1, clock_s: 1_000_000_000, random: 1 };
        let mut node = Node::new(Settings::from_cluster(&cluster), boot, 0);
        let life = Incarnation(1);
        let mut incarnations = Incarnations::NONE;
        incarnations.raise(peer, life);
        let view = View {
            id: ViewId { term: Term { counter: 1, node: Some(peer), incarnation: life }, epoch: 1 },
            members: NodeSet::of(peer),
            victims: NodeSet::EMPTY,
            reregister: NodeSet::EMPTY,
            lost_disks: 0,
            forgotten: NodeSet::EMPTY,
            incarnations,
            holds_qdisk: false,
            qdisk_uuid: 0,
            config: CONFIG,
            config_before: ConfigStamp::NONE,
        };
        let message = Message::Commit { view, phase: Phase::Released };
        let event = Event::Frame { from: peer, incarnation: life, nonce: Nonce(2), addressed: true, message: &message };
        let started = (0..100).map(|tenths| tenths * 100).find(|now_ms| {
            node.step(*now_ms, Event::Tick, &mut Actions::new());
            node.incarnation() != Incarnation::NONE
        });
        node.step(started.expect("it waits for no disk"), event, &mut Actions::new());
        assert_eq!(node.wanted_config(), Some(CONFIG));
        (node, Configs::new(&cluster))
    }

    /// What is done has to be collected: the loop would wake for it for ever.
    #[test]
    fn whoever_leaves_collects_what_is_done_and_begins_nothing() {
        let (node, mut configs) = without_its_configuration();
        let mut area = ConfigArea::start(Box::new(|| Ok(Box::new(Fake(Some(b"kept"))) as _))).unwrap();
        let keys = [None, None, None];
        let mut turn = |area: &mut ConfigArea, now_ms, stays| {
            let found = area.turn(now_ms, stays, &node, &mut configs, &keys).map(|(config, _)| config);
            (found, area.blob.is_some())
        };
        let done = |area: &ConfigArea| smol::block_on(std::future::poll_fn(|cx| area.poll_done(cx)));
        assert_eq!(turn(&mut area, 0, false), (None, true));
        assert_eq!(turn(&mut area, 0, true), (None, false));
        done(&area);
        assert_eq!(turn(&mut area, LOOK_MS, false), (None, true));
        assert_eq!(turn(&mut area, LOOK_MS, true), (None, false));
        done(&area);
        assert_eq!(turn(&mut area, LOOK_MS, true), (Some(CONFIG), true));
    }

    #[test]
    fn a_read_says_what_it_found_and_never_what_was_in_the_buffer() {
        for (held, found) in [(&b"kept"[..], true), (b"", false)] {
            let mut opener: Opener<dyn Area> = Box::new(move || Ok(Box::new(Fake(Some(held))) as _));
            let done = run(read(), &mut opener, &mut []);
            assert_eq!(matches!(done.what, Did::Found), found);
            assert!(!found || done.blob[..] == *held);
        }
    }

    #[test]
    fn a_disk_that_said_no_is_opened_again() {
        let mut opened = 0;
        let held = [None, Some(&b"kept"[..])];
        let mut opener: Opener<dyn Area> = Box::new(move || {
            opened += 1;
            Ok(Box::new(Fake(held[opened - 1])) as _)
        });
        let done = run(job(What::Write { copy: 0, key: Key::new(&[1; 32]) }), &mut opener, &mut []);
        assert!(matches!(&done.what, Did::Failed(why) if why.contains("neither a block device")));
        assert!(matches!(run(read(), &mut opener, &mut []).what, Did::Found));
    }
}
