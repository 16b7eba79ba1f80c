//! `quorate pr`: persistent reservations by hand, as sg_persist reads and changes them. Works without an agent, and not behind
//! one's back.
//!
//! It ends with the codes of `cli::Exit`: 1 a reservation conflict, or it would touch what a cluster uses; 2 options; 4 not
//! root; 6 the device, or what it answered; 7 an agent that may own the device does not answer.

use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};

use super::exit::Exit;
use super::render::reservation_type;
use super::socket::{self, Failure};
use super::wrap::Wrap;
use crate::base::PrKey;
use crate::drv::boot::resolve_device;
use crate::drv::emu::EmuDisk;
use crate::drv::ioc_pr::{PrDevice, Refused};
use crate::drv::scan;
use crate::drv::sg::SgDisk;
use crate::scsi::target::Request;
use crate::scsi::{Held, PrCommand, PrError, PrReply, TYPE_WERO, is_type};

/// What can be done to a disk.
pub const WORDS: [&str; 9] =
    ["keys", "reservation", "capabilities", "register", "unregister", "reserve", "release", "preempt", "clear"];

/// How long the kernel's driver waits for a disk.
const TIMEOUT_MS: u32 = 10_000;
/// Unit attentions that are taken off before one is believed to stay.
const ATTENTIONS_MAX: usize = 4;
/// The nexus of this command on a disk that is a file.
const NEXUS: u32 = 0xff_ffff;

/// Show and change the persistent reservations of a disk: keys, reservation, capabilities; register, unregister, reserve, release,
/// preempt, clear. What changes something is refused for a disk that an agent of this machine owns, or that a cluster has reserved.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "pr",
    example = "quorate pr keys lun:0\nquorate pr register /dev/sdb --key 0x1\nquorate pr preempt /dev/sdb --key 0x1 --victim 0x2 --abort",
    error_code(1, "a reservation conflict, or a cluster uses the disk"),
    error_code(6, "the disk is not there, or refused the command"),
    error_code(7, "an agent that may own the disk does not answer")
)]
pub struct PrCommandLine {
    /// keys, reservation, capabilities, register, unregister, reserve, release, preempt or clear
    #[argh(positional)]
    pub what: String,
    /// the disk, by path or lun:N; a file of `agent --emulate` as well
    #[argh(positional)]
    pub device: String,
    /// own key: of register the new one, of the others the registered one; decimal or 0x...
    #[argh(option, from_str_fn(parse_key))]
    pub key: Option<PrKey>,
    /// preempt: the key whose registrations go
    #[argh(option, from_str_fn(parse_key))]
    pub victim: Option<PrKey>,
    /// reserve, release, preempt: type of the reservation, as in SPC-4 (default 5: write exclusive, registrants only)
    #[argh(option, long = "type", default = "TYPE_WERO")]
    pub kind: u8,
    /// preempt: abort the victim's commands as well
    #[argh(switch)]
    pub abort: bool,
    /// register: keep it over a loss of power
    #[argh(switch)]
    pub aptpl: bool,
    /// sg (SCSI commands) or ioctl (linux/pr.h); default: sg where the disk takes it, ioctl for dm-multipath and others
    #[argh(option, from_str_fn(parse_backend))]
    pub backend: Option<Backend>,
    /// the only agent to ask whether it owns the disk (default: all that run here)
    #[argh(option)]
    pub socket: Option<String>,
    /// although an agent owns the disk, or a cluster has reserved it
    #[argh(switch)]
    pub force: bool,
}

/// Which of the kernel's doors is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// SG_IO.
    Sg,
    /// linux/pr.h.
    Ioctl,
}

fn parse_backend(text: &str) -> Result<Backend, String> {
    match text {
        "sg" => Ok(Backend::Sg),
        "ioctl" => Ok(Backend::Ioctl),
        _ => Err(format!("`{text}` is neither `sg` nor `ioctl`")),
    }
}

fn parse_key(text: &str) -> Result<PrKey, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let number = number.ok().filter(|&number| number != 0);
    number.map(PrKey).ok_or_else(|| format!("`{text}` is not a key: a number of 64 bits above 0, e.g. 0x63d20001"))
}

/// An open disk.
enum Disk {
    Sg(SgDisk),
    Ioctl(PrDevice),
    /// The second one knows how to read where the first one's kernel does not.
    Both(PrDevice, SgDisk),
    Emulated(EmuDisk),
}

impl Disk {
    fn open(path: &Path, backend: Option<Backend>) -> io::Result<Disk> {
        if path.is_file() {
            return EmuDisk::open(path, NEXUS).map(Disk::Emulated);
        }
        match backend {
            Some(Backend::Sg) => return SgDisk::open(path).map(Disk::Sg),
            Some(Backend::Ioctl) => return PrDevice::open(path).map(Disk::Ioctl),
            None => {}
        }
        // SG_IO on dm-multipath goes down one path only, and a registration is a path's.
        let many_paths = fs::canonicalize(path)?.to_str().is_some_and(|name| name.starts_with("/dev/dm-"));
        match SgDisk::open(path) {
            Ok(sg) if many_paths => Ok(Disk::Both(PrDevice::open(path)?, sg)),
            Ok(sg) => Ok(Disk::Sg(sg)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
            Err(_) => PrDevice::open(path).map(Disk::Ioctl),
        }
    }

    fn ask(&self, request: Request) -> Result<PrReply, Refused> {
        let sg = |sg: &SgDisk| {
            // What happened before must not fail a command that was not carried out for it.
            let mut outcome = sg.ask(&request, TIMEOUT_MS);
            for _ in 0..ATTENTIONS_MAX {
                if matches!(outcome, Err(PrError::UnitAttention { .. })) {
                    outcome = sg.ask(&request, TIMEOUT_MS);
                }
            }
            outcome.map_err(Refused::Disk)
        };
        match self {
            Disk::Sg(disk) => sg(disk),
            Disk::Ioctl(disk) => disk.ask(&request),
            Disk::Both(disk, other) => match disk.ask(&request) {
                Err(Refused::Unsupported) if matches!(request, Request::Pr(_)) => sg(other),
                outcome => outcome,
            },
            Disk::Emulated(disk) => {
                let outcome = match disk.execute(request) {
                    Err(PrError::UnitAttention { .. }) => disk.execute(request),
                    outcome => outcome,
                };
                outcome.map_err(Refused::Disk)
            }
        }
    }
}

impl PrCommandLine {
    /// Runs it on the standard streams.
    pub fn run(self) -> Exit {
        match self.act() {
            Ok(text) => {
                let _ = io::Write::write_all(&mut io::stdout(), text.as_bytes());
                Exit::Ok
            }
            Err((exit, why)) => {
                let mut text = String::new();
                // Writing to a String cannot fail.
                let _ = writeln!(Wrap::new(&mut text, 4), "quorate pr {}: {}: {why}", self.what, self.device);
                eprint!("{text}");
                exit
            }
        }
    }

    fn act(&self) -> Result<String, Failure> {
        let request = self.request()?;
        let path = match resolve_device(&self.device) {
            Ok(Some(path)) => path,
            Ok(None) => return Err((Exit::Device, "no SCSI disk has this LUN".into())),
            Err(error) => return Err((Exit::Device, error.to_string())),
        };
        let disk = Disk::open(&path, self.backend).map_err(|error| failure(error.into()))?;
        let changes = !matches!(request, Request::Pr(command) if !matches!(command, PrCommand::Register { .. }));
        if changes {
            self.look_around(&path, &disk)?;
        }
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = match disk.ask(request).map_err(failure)? {
            PrReply::Good => writeln!(out, "{}: {} done", self.device, self.what),
            reply => read(&reply, &mut out),
        };
        Ok(out)
    }

    fn request(&self) -> Result<Request, Failure> {
        let usage = |why: &str| (Exit::Usage, why.to_owned());
        let own = || self.key.ok_or_else(|| usage("which key? name it by --key"));
        let kind = self.kind;
        if !is_type(kind) {
            return Err(usage("the types of a reservation are 1, 3, 5, 6, 7 and 8"));
        }
        Ok(match self.what.as_str() {
            "keys" => PrCommand::ReadKeys.into(),
            "reservation" => PrCommand::ReadReservation.into(),
            "capabilities" => PrCommand::ReportCapabilities.into(),
            "register" => PrCommand::Register { key: own()?, aptpl: self.aptpl }.into(),
            "unregister" => Request::Register { existing: own()?, new: PrKey(0), aptpl: false },
            "reserve" => Request::Reserve { key: own()?, kind },
            "release" => Request::Release { key: own()?, kind },
            "clear" => Request::Clear { key: own()? },
            "preempt" => {
                let victim = self.victim.ok_or_else(|| usage("whom? name the key by --victim"))?;
                Request::Preempt { own: own()?, victim, kind, abort: self.abort }
            }
            _ => return Err(usage(&format!("it is none of {}", WORDS.join(", ")))),
        })
    }

    /// Refuses what a cluster uses.
    fn look_around(&self, path: &Path, disk: &Disk) -> Result<(), Failure> {
        let agents: Vec<String> = match &self.socket {
            Some(name) => vec![name.clone()],
            None => socket::names().iter().map(|name| name.as_str().to_owned()).collect(),
        };
        for agent in agents {
            match owned(&agent, path) {
                Ok(false) => {}
                Ok(true) if self.force => {
                    // It is for the record only: an agent that does not answer now stops nobody.
                    let _ = socket::fetch(Some(&agent), &format!("{}{} {}", socket::FORCED, self.what, self.device));
                }
                Ok(true) => {
                    let why = "the agent of this machine owns this disk, and a change behind its back resets this machine or \
                               others; --force does it all the same";
                    return Err((Exit::No, why.into()));
                }
                Err(_) if self.force => {}
                // It has gone since.
                Err((Exit::NoAgent, _)) if self.socket.is_none() => {}
                Err((exit, why)) => {
                    return Err((
                        exit,
                        format!("{why}; whether it owns this disk is not known, and --force does not ask"),
                    ));
                }
            }
        }
        if self.force {
            return Ok(());
        }
        let reserved = match disk.ask(PrCommand::ReadReservation.into()) {
            Ok(PrReply::Reservation { held: Some(Held { kind: TYPE_WERO, .. }), .. }) => true,
            Ok(_) => false,
            // A kernel that cannot read cannot tell.
            Err(error) => {
                return Err((Exit::Device, format!("the reservation cannot be read ({error}); --force does not look")));
            }
        };
        match disk.ask(PrCommand::ReadKeys.into()) {
            Ok(PrReply::Keys { keys, .. }) => match keys.iter().find_map(|key| Owner::of(*key)) {
                Some(owner) if reserved => Err((
                    Exit::No,
                    format!(
                        "{owner} and others may be alive, and count on the reservation of type 5 here; stop them, or use \
                         --force"
                    ),
                )),
                _ => Ok(()),
            },
            Ok(_) => Ok(()),
            Err(error) => Err((Exit::Device, format!("the keys cannot be read ({error}); --force does not look"))),
        }
    }
}

fn failure(refused: Refused) -> Failure {
    let exit = match &refused {
        Refused::Disk(PrError::ReservationConflict) => Exit::No,
        Refused::Permission => Exit::Permission,
        Refused::Disk(_) | Refused::Unsupported | Refused::Os(_) => Exit::Device,
    };
    (exit, refused.to_string())
}

/// Is it one of the agent's data disks, by whatever name?
fn owned(agent: &str, path: &Path) -> Result<bool, Failure> {
    let (exit, text) = socket::fetch(Some(agent), socket::DATA)?;
    match exit {
        Exit::Ok => Ok(text
            .lines()
            .filter_map(|name| resolve_device(name).ok().flatten())
            .any(|other: PathBuf| scan::same_unit(&other, path))),
        exit => Err((exit, text.trim_end().into())),
    }
}

/// Whose key it is, by its form: cluster and node in the low half, as fence_scsi had it, and the life in the high one.
struct Owner {
    cluster: u16,
    node: u16,
    life: u32,
}

impl Owner {
    fn of(PrKey(key): PrKey) -> Option<Owner> {
        let owner = Owner { cluster: (key >> 16) as u16, node: key as u16, life: (key >> 32) as u32 };
        (owner.cluster != 0 && (1..=64).contains(&owner.node)).then_some(owner)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {}", self.node, self.cluster)?;
        // fence_scsi's keys have none.
        if self.life > 0 { write!(f, " (life {})", self.life) } else { Ok(()) }
    }
}

/// As sg_persist prints it, with the owners beside the keys.
pub fn read(reply: &PrReply, out: &mut dyn fmt::Write) -> fmt::Result {
    let with_owner = |out: &mut dyn fmt::Write, start: &str, key: PrKey| match Owner::of(key) {
        Some(owner) => writeln!(out, "{start}{key}   {owner}"),
        None => writeln!(out, "{start}{key}"),
    };
    match reply {
        PrReply::Good => Ok(()),
        PrReply::Keys { generation, keys } => {
            write!(out, "  PR generation={generation:#x}, ")?;
            match keys.len() {
                0 => writeln!(out, "there are NO registered reservation keys")?,
                1 => writeln!(out, "1 registered reservation key follows:")?,
                count => writeln!(out, "{count} registered reservation keys follow:")?,
            }
            keys.iter().try_for_each(|key| with_owner(out, "    ", *key))
        }
        PrReply::Reservation { generation, held: None } => {
            writeln!(out, "  PR generation={generation:#x}, there is NO reservation held")
        }
        PrReply::Reservation { generation, held: Some(Held { key, kind }) } => {
            writeln!(out, "  PR generation={generation:#x}, Reservation follows:")?;
            with_owner(out, "    Key=", *key)?;
            writeln!(out, "    scope: LU_SCOPE,  type: {}", reservation_type(*kind))
        }
        PrReply::Capabilities(capabilities) => {
            writeln!(out, "Report capabilities response:")?;
            for (name, yes) in [
                ("Persist Through Power Loss Capable(PTPL_C)", capabilities.ptpl_capable),
                ("Persist Through Power Loss Activated(PTPL_A)", capabilities.ptpl_active),
                ("Write Exclusive, registrants only(WR_EX_RO)", capabilities.write_exclusive_registrants_only),
            ] {
                writeln!(out, "  {name}: {}", u8::from(yes))?;
            }
            Ok(())
        }
    }
}
