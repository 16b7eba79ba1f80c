//! `quorate qdisk` and the block driver, on files that pass for disks with 512- and 4096-byte sectors.
#![cfg(feature = "agent")]

mod samples;

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use quorate::base::NodeSet;
use quorate::base::limits::BLOB_BYTES_MAX;
use quorate::cli::Exit;
use quorate::cli::qdisk::{Extent, Kind, read_here};
use quorate::cli::qdisk::{FormatCommand, FormatError, Found, QdiskCommand, Wanted, format, refuse_taken_label};
use quorate::config::blob;
use quorate::config::schema::Document;
use quorate::disk::{DiskError, Header, HeaderFault, Image, Signature, SlotRead, Unit};
use quorate::drv::block::{Access, AlignedBuf, BlockError, BlockFile, Doing};
use quorate::drv::qdisk::Qdisk;
use samples::*;

const DISK_BYTES: usize = 2 << 20;

/// A file that goes away with its test.
struct Disk(PathBuf);

impl Disk {
    fn new(name: &str, bytes: usize) -> Disk {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::write(&path, vec![0; bytes]).unwrap();
        Disk(path)
    }

    fn holding(name: &str, at: usize, bytes: &[u8]) -> Disk {
        let disk = Disk::new(name, DISK_BYTES);
        disk.put(at, bytes);
        disk
    }

    fn put(&self, at: usize, bytes: &[u8]) {
        let mut content = fs::read(&self.0).unwrap();
        content[at..at + bytes.len()].copy_from_slice(bytes);
        fs::write(&self.0, content).unwrap();
    }

    fn wanted(&self, sector: u32) -> Wanted {
        let header = Header { disk_interval_ms: 30, ..header() };
        Wanted { device: self.0.clone(), file_sector: sector, header, force: false }
    }

    fn driver(&self, sector: u32, nodes: NodeSet) -> Qdisk {
        let expect = quorate::disk::Expect { disk_interval_ms: 30, ..expect(nodes) };
        Qdisk::on(BlockFile::open_with_sector(&self.0, Access::Write, sector).unwrap(), expect).unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn aligned_memory_is_aligned() {
    for len in [0, 1, 1024, 4096, 100_000] {
        let buf = AlignedBuf::zeroed(len);
        assert_eq!((buf.len(), buf.as_ptr().align_offset(4096)), (len, 0));
    }
}

#[test]
fn format_write_and_read_back() {
    for sector in [512, 4096] {
        let disk = Disk::new(&format!("whole-{sector}"), DISK_BYTES);
        let wanted = disk.wanted(sector);
        format(&wanted, |_| true).unwrap();
        let mut driver = disk.driver(sector, nodes(&[1, 2, 64]));
        let mut image = Box::new(Image::EMPTY);
        driver.read_image(&mut image).unwrap();
        assert_eq!(image.header.unwrap().uuid, wanted.header.uuid);
        assert!(image.slots.iter().all(|slot| *slot == SlotRead::Empty));
        for written in [slot(1, 6), slot(1, 7), slot(64, 3)] {
            driver.write_slot(&written).unwrap();
        }
        driver.write_eviction(&eviction(2)).unwrap();
        driver.read_image(&mut image).unwrap();
        assert_eq!(image.slots[0], SlotRead::Valid(slot(1, 7)));
        assert_eq!(image.slots[63], SlotRead::Valid(slot(64, 3)));
        assert_eq!(image.evictions[1], Some(eviction(2)));
        // Both copies are where the layout says.
        let unit = Unit::of_sector(sector).unwrap();
        let content = fs::read(&disk.0).unwrap();
        assert_eq!(&content[unit.slot_offset(node(1), 0)..][..4], b"QSLT");
        assert_eq!(&content[unit.slot_offset(node(1), 1)..][..4], b"QSLT");
        assert_eq!(content[unit.slot_offset(node(64), 0)], 0);
    }
}

#[test]
fn another_sector_size_is_noticed() {
    let disk = Disk::new("sector", DISK_BYTES);
    format(&disk.wanted(4096), |_| true).unwrap();
    let mut image = Box::new(Image::EMPTY);
    disk.driver(512, nodes(&[1])).read_image(&mut image).unwrap();
    assert_eq!(image.header, Err(HeaderFault::OtherSettings));
}

#[test]
fn every_known_signature_is_refused_and_force_is_the_way_out() {
    // ext2/3/4 differ in features: journal (compatible, 4), extents (incompatible, 0x40).
    let ext = |compatible: u8, incompatible: u8| {
        let mut block = [0; 104];
        block[56..58].copy_from_slice(&[0x53, 0xef]);
        block[92] = compatible;
        block[96] = incompatible;
        block.to_vec()
    };
    let mut rhcs = vec![0x1e, 0xbb, 0xde, 0x00];
    rhcs.resize(32, 0);
    rhcs.extend([0xeb, 0x7a, 0x62, 0xc2]);
    let mut mbr = vec![0; 512 - 446];
    mbr[4] = 0x83;
    mbr[64..].copy_from_slice(&[0x55, 0xaa]);
    let v100 = (DISK_BYTES - 8192) & !4095;
    let md = [0xfc, 0x4e, 0x2b, 0xa9];
    let cases: Vec<(usize, Vec<u8>, Signature)> = vec![
        (1024, ext(0, 2), Signature::Ext2),
        (1024, ext(4, 2), Signature::Ext3),
        (1024, ext(4, 0x42), Signature::Ext4),
        (0, b"XFSB".to_vec(), Signature::Xfs),
        (65600, b"_BHRfS_M".to_vec(), Signature::Btrfs),
        (65536, vec![1, 0x16, 0x19, 0x70, 0, 0, 0, 1], Signature::Gfs2),
        (2048, b"OCFSV2".to_vec(), Signature::Ocfs2),
        (3, b"NTFS    ".to_vec(), Signature::Ntfs),
        (3, b"EXFAT   ".to_vec(), Signature::ExFat),
        (82, b"FAT32   ".to_vec(), Signature::Fat),
        (32769, b"CD001".to_vec(), Signature::Iso9660),
        (4086, b"SWAPSPACE2".to_vec(), Signature::Swap),
        (0, b"LUKS\xba\xbe".to_vec(), Signature::Luks),
        (512, b"LABELONE".to_vec(), Signature::Lvm2),
        (4096, md.to_vec(), Signature::MdRaid),
        (v100, md.to_vec(), Signature::MdRaid),
        (DISK_BYTES - 65536, md.to_vec(), Signature::MdRaid),
        (512, b"EFI PART".to_vec(), Signature::Gpt),
        (DISK_BYTES - 512, b"EFI PART".to_vec(), Signature::Gpt),
        (446, mbr, Signature::Mbr),
        (0, rhcs, Signature::RhcsQdisk),
        (0, b"SBD_SBD_".to_vec(), Signature::Sbd),
        (0, vec![0x10, 0x20, 0x21, 0x12], Signature::Sanlock),
    ];
    for (at, bytes, signature) in cases {
        let disk = Disk::holding("foreign", at, &bytes);
        let mut wanted = disk.wanted(512);
        let before = fs::read(&disk.0).unwrap();
        let error = format(&wanted, |_| panic!("refused before anybody is asked")).unwrap_err();
        assert!(matches!(&error, FormatError::Occupied(_, found) if found == &[signature]), "{signature}: {error:?}");
        assert!(error.to_string().contains(&signature.to_string()) && error.to_string().contains("--force"));
        assert_eq!(error.exit(), Exit::Device);
        assert!(fs::read(&disk.0).unwrap() == before, "a refusal writes nothing");
        wanted.force = true;
        format(&wanted, |question| question.contains(&signature.to_string())).unwrap();
        // What was there is gone, at the end of the disk too: only our own signature is left.
        wanted.force = false;
        let again = format(&wanted, |_| true).unwrap_err();
        assert!(matches!(&again, FormatError::Occupied(_, found) if found == &[Signature::Quorate]), "{again:?}");
    }
}

#[test]
fn a_living_quorum_disk_names_its_nodes() {
    let disk = Disk::new("living", DISK_BYTES);
    let mut wanted = disk.wanted(512);
    // Long enough for a write to happen on a busy machine.
    wanted.header.disk_interval_ms = 100;
    format(&wanted, |_| true).unwrap();
    std::thread::scope(|scope| {
        let (stop, stopped) = mpsc::channel::<()>();
        let (tell, lives) = mpsc::channel();
        let disk = &disk;
        scope.spawn(move || {
            let mut driver = disk.driver(512, nodes(&[2, 5]));
            driver.write_slot(&slot(5, 1)).unwrap();
            // As a living node does: again and again, until it is told to end.
            for sequence in 1.. {
                driver.write_slot(&slot(2, sequence)).unwrap();
                let _ = tell.send(());
                if stopped.recv_timeout(Duration::from_millis(5)) != Err(mpsc::RecvTimeoutError::Timeout) {
                    break;
                }
            }
        });
        lives.recv().expect("it writes");
        let error = format(&wanted, |_| true).unwrap_err();
        let text = error.to_string();
        let named = matches!(&error, FormatError::Living(_, nodes) if nodes.len() == 1);
        // Even by force, nobody may say that no node is running.
        wanted.force = true;
        wanted.header.adopted = true;
        let adopt = format(&wanted, |_| true).unwrap_err();
        wanted.header.adopted = false;
        let mut question = String::new();
        let declined = format(&wanted, |text| {
            question = text.to_string();
            false
        });
        let forced = format(&wanted, |_| true);
        drop(stop);
        assert!(named && text.contains("node 2 of cluster alpha (incarnation 1795000002"), "{text}");
        assert!(matches!(adopt, FormatError::LivingAdopt(..)), "{adopt}");
        assert!(question.contains("IN USE by nodes 2"), "{question}");
        assert_eq!(declined.unwrap_err().exit(), Exit::No);
        forced.unwrap();
    });
    // The same disk with its header wiped is still no free disk; silent, it may be adopted by force.
    disk.put(0, &[0; 1024]);
    disk.driver(512, nodes(&[2])).write_slot(&slot(2, 100_000)).unwrap();
    wanted.force = false;
    let error = format(&wanted, |_| true).unwrap_err();
    assert!(matches!(&error, FormatError::Occupied(_, found) if found == &[Signature::Quorate]), "{error}");
    wanted.force = true;
    wanted.header.adopted = true;
    format(&wanted, |_| true).unwrap();
}

#[test]
fn what_cannot_be_a_quorum_disk_is_refused() {
    let small = Disk::new("small", 193 * 1024 - 512);
    let error = format(&small.wanted(512), |_| true).unwrap_err();
    assert!(matches!(error, FormatError::Unfit(_, BlockError::TooSmall { need: 197_632, .. })), "{error}");
    let fits = Disk::new("fits", 193 * 1024);
    assert!(format(&fits.wanted(4096), |_| true).is_err());
    assert!(format(&fits.wanted(512), |_| true).is_ok());
    let odd = format(&Disk::new("odd", DISK_BYTES).wanted(520), |_| true).unwrap_err();
    assert!(matches!(odd, FormatError::Unfit(_, BlockError::Sector(520))), "{odd}");
    for path in ["/dev/null", "/", "/nonexistent/disk"] {
        let wanted = Wanted { device: path.into(), ..fits.wanted(512) };
        let error = format(&wanted, |_| true).unwrap_err();
        assert!(error.to_string().starts_with(path), "{error}");
        assert_eq!(error.exit(), Exit::Device, "{error}");
    }
    let absent = BlockFile::open("/nonexistent/disk".as_ref(), Access::Read).unwrap_err();
    assert_eq!(DiskError::from(absent), DiskError::Absent);
    let refused = BlockError::Os { doing: Doing::Write, at: 1024, errno: rustix::io::Errno::BADE.raw_os_error() };
    assert_eq!(DiskError::from(refused), DiskError::Conflict);
    assert!(refused.to_string().ends_with("; a reservation on its LUN keeps this machine from writing"), "{refused}");
}

#[test]
fn a_file_system_without_o_direct_is_used_and_said() {
    // Newer kernels serve O_DIRECT on tmpfs too; either way it must work and the flag must be true to what happened.
    let path = PathBuf::from(format!("/dev/shm/quorate-test-{}", std::process::id()));
    if fs::write(&path, vec![0; DISK_BYTES]).is_err() {
        return;
    }
    let disk = Disk(path);
    let direct = BlockFile::open(&disk.0, Access::Read).unwrap().is_direct();
    let mut question = String::new();
    format(&disk.wanted(512), |text| {
        question = text.to_string();
        true
    })
    .unwrap();
    assert_eq!(question.contains("O_DIRECT"), !direct);
}

#[test]
fn options_come_from_the_command_line_or_the_configuration() {
    use argh::FromArgs;
    let parse = |args: &[&str]| QdiskCommand::from_args(&["qdisk"], args);
    let whole = ["format", "--device", "/dev/x", "--label", "l", "--cluster-id", "0x63d2", "--cluster", "a", "--votes"];
    assert!(parse(&[&whole[..], &["4", "--force", "--adopt", "--yes"]].concat()).is_ok());
    assert!(parse(&["format", "--cluster-id", "0"]).is_err());
    assert!(parse(&["list", "/dev/x", "--json"]).is_ok());
    let command = FormatCommand { device: Some("/dev/x".into()), ..FormatCommand::default() };
    let error = Wanted::from_command(&command).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.exit()), ("--label is missing (or --config)", Exit::Usage));
    let command = FormatCommand {
        label: Some("two words".into()),
        cluster: Some("alpha".into()),
        cluster_id: Some(7),
        votes: Some(1),
        ..command
    };
    assert!(Wanted::from_command(&command).unwrap_err().to_string().contains("label"));
    let command = FormatCommand { label: Some("x".repeat(65)), ..command };
    assert!(Wanted::from_command(&command).unwrap_err().to_string().contains("too long"));
    let wanted = Wanted::from_command(&FormatCommand { label: Some("one".into()), ..command }).unwrap();
    assert_eq!((wanted.header.disk_interval_ms, wanted.header.votes, wanted.header.adopted), (500, 1, false));
    assert_ne!(wanted.header.uuid, 0);
}

#[test]
fn a_configuration_blob_names_everything_and_options_overrule_it() {
    // A disk named by its LUN is looked for at once; this machine has none.
    let text = fs::read_to_string("configs/five-node.toml").unwrap().replace("lun:1", "/dev/sdb");
    let cluster = toml::from_str::<Document>(&text).unwrap().check().unwrap();
    let mut buffer = [0; BLOB_BYTES_MAX];
    let config = Disk::new("config", 0);
    fs::write(&config.0, blob::encode(&cluster, &mut buffer).unwrap()).unwrap();
    let command = || FormatCommand { config: Some(config.0.clone()), ..FormatCommand::default() };
    let wanted = Wanted::from_command(&command()).unwrap();
    let Header { cluster: id, cluster_name, label, votes, disk_interval_ms, .. } = wanted.header;
    assert_eq!((id.0, cluster_name.as_str(), label.as_str(), votes), (25554, "my-cluster", "myqdisk", 4));
    assert_eq!((disk_interval_ms, wanted.device), (500, "/dev/sdb".into()));
    let other = FormatCommand { device: Some("/dev/x".into()), label: Some("other".into()), ..command() };
    let wanted = Wanted::from_command(&other).unwrap();
    assert_eq!((wanted.header.label.as_str(), wanted.device), ("other", "/dev/x".into()));
    let lun = FormatCommand { device: Some("lun:987654".into()), ..other };
    let error = Wanted::from_command(&lun).unwrap_err();
    assert_eq!((error.exit(), error.to_string()), (Exit::Device, "lun:987654: no SCSI disk has this LUN".into()));
    config.put(20, b"rot");
    let error = Wanted::from_command(&command()).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
    assert_eq!(error.exit(), Exit::Config);
    let absent = FormatCommand { config: Some("/nonexistent/config".into()), ..FormatCommand::default() };
    assert_eq!(Wanted::from_command(&absent).unwrap_err().exit(), Exit::Config);
}

#[test]
fn a_label_that_another_disk_carries_is_refused() {
    let (old, new) = (Disk::new("label-old", DISK_BYTES), Disk::new("label-new", DISK_BYTES));
    format(&old.wanted(512), |_| true).unwrap();
    let found = Found::of(old.0.clone(), &read_here(&old.0, Extent::Head).unwrap()).unwrap();
    let mut wanted = new.wanted(512);
    let error = refuse_taken_label(&wanted, std::slice::from_ref(&found)).unwrap_err();
    assert!(error.to_string().contains(&old.0.display().to_string()), "{error}");
    assert_eq!(error.exit(), Exit::Device);
    wanted.force = true;
    refuse_taken_label(&wanted, std::slice::from_ref(&found)).unwrap();
    // Formatting one disk anew, another label, another cluster: nothing is taken.
    refuse_taken_label(&old.wanted(512), std::slice::from_ref(&found)).unwrap();
    wanted.force = false;
    wanted.header.label = "other".try_into().unwrap();
    refuse_taken_label(&wanted, std::slice::from_ref(&found)).unwrap();
    let wanted = Wanted { header: Header { cluster: quorate::base::ClusterId(9), ..header() }, ..new.wanted(512) };
    refuse_taken_label(&wanted, &[found]).unwrap();
}

#[test]
fn damaged_and_foreign_heads_are_told_apart() {
    let disk = Disk::new("kinds", DISK_BYTES);
    let what = |extent| Kind::of(&read_here(&disk.0, extent).unwrap()).unwrap_err();
    assert_eq!(what(Extent::Head), "no quorum disk: no magic known here");
    disk.put(0, b"XFSB");
    assert_eq!(what(Extent::Head), "no quorum disk; it holds an XFS file system");
    disk.put(0, &[0; 4]);
    format(&disk.wanted(512), |_| true).unwrap();
    disk.driver(512, nodes(&[2])).write_slot(&slot(2, 4)).unwrap();
    disk.put(100, b"rot");
    assert!(what(Extent::Head).contains("checksum wrong"));
    disk.put(0, &[0; 1024]);
    assert!(what(Extent::Whole).contains("header was wiped"));
}
