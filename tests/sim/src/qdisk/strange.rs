//! Disks that are not the cluster's quorum disk, byte by byte as an administrator may put them there.

use quorate::base::{ClusterId, Incarnation, NodeId, NodeSet, Nonce, Phase, Term};
use quorate::disk::header::{self, Header};
use quorate::disk::layout::Unit;
use quorate::disk::record::Record;
use quorate::disk::{Slot, Standing, slot};

/// What stands in the place of the quorum disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strange {
    /// A new disk: zeros.
    Blank,
    /// The quorum disk of another cluster, whose nodes have the same ids and live.
    OtherCluster,
    /// This cluster's, formatted again: other uuid, empty.
    OtherUuid,
    /// A copy of this very disk whose header has another uuid: formatted without clearing the slots.
    OtherUuidOldSlots,
    /// A copy whose header has another number of votes.
    OtherVotes,
    /// A copy whose header has another disk interval.
    OtherTiming,
    /// A copy whose header has another label.
    OtherLabel,
    /// A copy whose header was made for sectors of another size.
    OtherUnit,
    /// A copy whose header is of the next format.
    OtherVersion,
    /// A quorum disk of RHCS.
    Rhcs,
    /// A device of SBD.
    Sbd,
    /// An ext4 file system.
    Ext4,
}

impl Strange {
    /// All of them.
    pub const ALL: [Strange; 12] = [
        Strange::Blank,
        Strange::OtherCluster,
        Strange::OtherUuid,
        Strange::OtherUuidOldSlots,
        Strange::OtherVotes,
        Strange::OtherTiming,
        Strange::OtherLabel,
        Strange::OtherUnit,
        Strange::OtherVersion,
        Strange::Rhcs,
        Strange::Sbd,
        Strange::Ext4,
    ];

    /// Writes such a disk. `ours` is the cluster's disk, `header` a header of the cluster with a uuid that is new.
    pub(super) fn make(self, disk: &mut [u8], ours: &[u8], unit: Unit, header: &Header, nodes: NodeSet) {
        disk.fill(0);
        let mut header = header.clone();
        match self {
            Strange::Blank => return,
            Strange::OtherCluster => {
                header.cluster = ClusterId(header.cluster.0 + 1);
                header.cluster_name = "other".try_into().expect("short");
                nodes.iter().for_each(|node| put_slot(disk, unit, header.cluster, node));
            }
            Strange::OtherUuid => {}
            Strange::OtherUuidOldSlots => disk.copy_from_slice(ours),
            Strange::OtherVotes => {
                disk.copy_from_slice(ours);
                header.votes += 1;
            }
            Strange::OtherTiming => {
                disk.copy_from_slice(ours);
                header.disk_interval_ms += 500;
            }
            Strange::OtherLabel => {
                disk.copy_from_slice(ours);
                header.label = "other".try_into().expect("short");
            }
            Strange::OtherUnit => {
                disk.copy_from_slice(ours);
                let other = if unit == Unit::SMALLEST { 4096 } else { 512 };
                let other = Unit::of_sector(other).expect("512 and 4096 are sector sizes");
                return header::encode(&header, other, first(disk));
            }
            Strange::OtherVersion => {
                disk.copy_from_slice(ours);
                header::encode(&header, unit, first(disk));
                // Whatever the next version is: a reader stops there, before it looks at the checksum.
                return disk[4..6].copy_from_slice(&2_u16.to_le_bytes());
            }
            Strange::Rhcs => {
                disk[..4].copy_from_slice(&0x00de_bb1e_u32.to_le_bytes());
                return disk[32..36].copy_from_slice(&0xeb7a_62c2_u32.to_be_bytes());
            }
            Strange::Sbd => return disk[..8].copy_from_slice(b"SBD_SBD_"),
            Strange::Ext4 => {
                disk[1024 + 56..1024 + 58].copy_from_slice(&0xef53_u16.to_le_bytes());
                return disk[1024 + 96..1024 + 100].copy_from_slice(&0x40_u32.to_le_bytes());
            }
        }
        header::encode(&header, unit, first(disk));
    }
}

fn first(disk: &mut [u8]) -> &mut Record {
    disk.first_chunk_mut().expect("a disk has a header")
}

/// A slot of a node of the other cluster, with a life and a promise that would outrank everything if it were believed.
fn put_slot(disk: &mut [u8], unit: Unit, cluster: ClusterId, node: NodeId) {
    let incarnation = Incarnation(u32::MAX / 2);
    let slot = Slot {
        cluster,
        node,
        incarnation,
        nonce: Nonce(7),
        boot_id: 7,
        sequence: 1 << 40,
        promised: Term { counter: 1 << 40, node: Some(node), incarnation },
        accepted: None,
        phase: Phase::Accepted,
        hears: NodeSet::of(node),
        score: 1,
        standing: Standing::QUORATE | Standing::WARM,
    };
    let offset = unit.slot_offset(node, slot::copy_of(slot.sequence));
    slot::encode(&slot, disk[offset..].first_chunk_mut().expect("a unit is never smaller than a record"));
}

#[cfg(test)]
mod tests {
    use quorate::disk::{HeaderFault, Signature, SlotRead, signature};

    use super::super::{Qdisk, expect};
    use super::*;

    fn seen(what: Strange, sector_bytes: u32) -> (Box<quorate::disk::Image>, Vec<Signature>) {
        let nodes: NodeSet = (1..=2).filter_map(NodeId::new).collect();
        let mut disk = Qdisk::new(expect(ClusterId(9), 1, 500, nodes), sector_bytes, 5, true);
        disk.place(what, 6);
        disk.paths[0].elsewhere = true;
        let mut bytes = vec![0; disk.bytes()];
        let sectors = bytes.len() / super::super::SECTOR_BYTES;
        disk.read(0, &mut bytes, 0..sectors);
        let mut image = super::super::empty_image();
        disk.decode(&bytes, &mut image);
        assert!(disk.header().is_ok_and(|header| header.uuid == 5), "the own disk is as it was");
        (image, signature::at_start(&bytes).to_vec())
    }

    #[test]
    fn each_strange_disk_is_what_it_says() {
        for sector_bytes in [512, 4096] {
            for what in Strange::ALL {
                let (image, signatures) = seen(what, sector_bytes);
                let (fault, signature) = match what {
                    Strange::Blank => (HeaderFault::NotAQdisk, None),
                    Strange::OtherCluster => (HeaderFault::OtherCluster(ClusterId(10)), Some(Signature::Quorate)),
                    Strange::OtherUuid | Strange::OtherUuidOldSlots => {
                        assert_eq!(image.header.map(|header| (header.uuid, header.adopted)), Ok((6, false)));
                        continue;
                    }
                    Strange::OtherVotes | Strange::OtherTiming | Strange::OtherUnit => {
                        (HeaderFault::OtherSettings, Some(Signature::Quorate))
                    }
                    Strange::OtherLabel => (HeaderFault::OtherLabel, Some(Signature::Quorate)),
                    Strange::OtherVersion => (HeaderFault::Version(2), Some(Signature::Quorate)),
                    Strange::Rhcs => (HeaderFault::NotAQdisk, Some(Signature::RhcsQdisk)),
                    Strange::Sbd => (HeaderFault::NotAQdisk, Some(Signature::Sbd)),
                    Strange::Ext4 => (HeaderFault::NotAQdisk, Some(Signature::Ext4)),
                };
                assert_eq!(image.header, Err(fault), "{what:?}");
                assert_eq!(signatures.first().copied(), signature, "{what:?}");
                assert!(image.slots.iter().all(|slot| !matches!(slot, SlotRead::Valid(_))), "{what:?}: a slot counts");
            }
        }
    }
}
