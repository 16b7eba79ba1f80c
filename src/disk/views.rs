//! Terms and views as bytes inside records.

use zerocopy::little_endian::{U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::record::{RecordError, blank, node_or_none};
use crate::base::limits::NODES_MAX;
use crate::base::view::Incarnations;
use crate::base::{ConfigStamp, Incarnation, NodeSet, Term, View, ViewId};

/// A term: 16 bytes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct TermBytes {
    counter: U64,
    incarnation: U32,
    node: u8,
    reserved: [u8; 3],
}

const _: () = assert!(size_of::<TermBytes>() == 16);

impl TermBytes {
    pub(super) fn put(&mut self, term: Term) {
        self.counter = term.counter.into();
        self.incarnation = term.incarnation.0.into();
        self.node = term.node.map_or(0, |node| node.get());
        self.reserved = [0; 3];
    }

    pub(super) fn get(&self) -> Result<Term, RecordError> {
        blank(&self.reserved)?;
        Ok(Term {
            counter: self.counter.get(),
            node: node_or_none(self.node, "term")?,
            incarnation: Incarnation(self.incarnation.get()),
        })
    }
}

/// A view's name: 24 bytes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ViewIdBytes {
    term: TermBytes,
    epoch: U64,
}

const _: () = assert!(size_of::<ViewIdBytes>() == 24);

impl ViewIdBytes {
    pub(super) fn put(&mut self, id: ViewId) {
        self.term.put(id.term);
        self.epoch = id.epoch.into();
    }

    pub(super) fn get(&self) -> Result<ViewId, RecordError> {
        Ok(ViewId { term: self.term.get()?, epoch: self.epoch.get() })
    }
}

/// A view: 336 bytes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ViewBytes {
    id: ViewIdBytes,
    members: U64,
    victims: U64,
    reregister: U64,
    forgotten: U64,
    qdisk_uuid: U128,
    config_version: U32,
    holds_qdisk: u8,
    lost_disks: u8,
    reserved: [u8; 2],
    incarnations: [U32; NODES_MAX],
}

const _: () = assert!(size_of::<ViewBytes>() == 336);

/// What else a view says of configurations: 12 bytes. All zero in slots of earlier releases.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ConfigBytes {
    digest: U32,
    before_version: U32,
    before_digest: U32,
}

impl ViewBytes {
    /// Some of it stands elsewhere in the record: it came later, and this layout had no room.
    pub(super) fn put(&mut self, view: &View) -> ConfigBytes {
        self.id.put(view.id);
        self.members = view.members.0.into();
        self.victims = view.victims.0.into();
        self.reregister = view.reregister.0.into();
        self.forgotten = view.forgotten.0.into();
        self.qdisk_uuid = view.qdisk_uuid.into();
        self.config_version = view.config.version.into();
        self.holds_qdisk = view.holds_qdisk.into();
        self.lost_disks = view.lost_disks;
        self.reserved = [0; 2];
        for (bytes, incarnation) in self.incarnations.iter_mut().zip(&view.incarnations.0) {
            *bytes = incarnation.0.into();
        }
        ConfigBytes {
            digest: view.config.digest.into(),
            before_version: view.config_before.version.into(),
            before_digest: view.config_before.digest.into(),
        }
    }

    pub(super) fn get(&self, config: &ConfigBytes) -> Result<View, RecordError> {
        blank(&self.reserved)?;
        let mut incarnations = Incarnations::NONE;
        for (incarnation, bytes) in incarnations.0.iter_mut().zip(&self.incarnations) {
            *incarnation = Incarnation(bytes.get());
        }
        Ok(View {
            id: self.id.get()?,
            members: NodeSet(self.members.get()),
            victims: NodeSet(self.victims.get()),
            reregister: NodeSet(self.reregister.get()),
            lost_disks: self.lost_disks,
            forgotten: NodeSet(self.forgotten.get()),
            incarnations,
            holds_qdisk: match self.holds_qdisk {
                0 => false,
                1 => true,
                _ => return Err(RecordError::Value("holds_qdisk")),
            },
            qdisk_uuid: self.qdisk_uuid.get(),
            config: ConfigStamp { version: self.config_version.get(), digest: config.digest.get() },
            config_before: ConfigStamp { version: config.before_version.get(), digest: config.before_digest.get() },
        })
    }
}
