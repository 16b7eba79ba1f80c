//! A target as a few lines of text, and back: test tables show it, and the emulated disk keeps its state in this form, so
//! that `cat` is a second opinion.
//!
//! ```text
//! emulated persistent reservations, version 1
//! generation 7
//! options abort aptpl
//! capabilities ptpl_capable wero
//! reservation 5 nexus 1
//! nexus 1 key 0x763d20001
//! nexus 2 key - attention 2a/05
//! end
//! ```

use core::fmt;
use core::str::{FromStr, SplitAsciiWhitespace};

use super::{Attention, Nexus, Reservation, Target, holder};
use crate::base::PrKey;
use crate::scsi::{Capabilities, is_type};

const TITLE: &str = "emulated persistent reservations, version 1";

/// The line of a target's text (counted from 1) that makes no sense; 0 if the text as a whole does not hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadText(pub u32);

impl fmt::Display for BadText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("reservations: the state contradicts itself or is cut short"),
            line => write!(f, "reservations: line {line} makes no sense"),
        }
    }
}

impl core::error::Error for BadText {}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE}")?;
        writeln!(f, "generation {}", self.generation)?;
        let flag = |yes, word| if yes { word } else { "" };
        writeln!(f, "options{}{}", flag(self.abort, " abort"), flag(self.aptpl, " aptpl"))?;
        if let Some(capabilities) = self.capabilities {
            writeln!(f, "capabilities {capabilities}")?;
        }
        match self.reservation {
            None => {}
            Some(Reservation { holder: None, kind }) => writeln!(f, "reservation {kind} all")?,
            Some(Reservation { holder: Some(nexus), kind }) => writeln!(f, "reservation {kind} nexus {nexus}")?,
        }
        for Nexus { id, key, attentions } in &self.nexuses {
            match key {
                Some(key) => write!(f, "nexus {id} key {key}")?,
                None => write!(f, "nexus {id} key -")?,
            }
            for attention in Attention::ALL.into_iter().filter(|attention| attentions & attention.bit() != 0) {
                let (asc, ascq) = attention.code();
                write!(f, " attention {asc:02x}/{ascq:02x}")?;
            }
            writeln!(f)?;
        }
        // Without this line, a text cut off after a whole line would be a target with fewer registrations.
        writeln!(f, "end")
    }
}

impl FromStr for Target {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Target, BadText> {
        let mut target = Target::new(false, None);
        let mut ended = false;
        for (line, number) in text.lines().zip(1u32..) {
            let fits = !ended && if number == 1 { line == TITLE } else { target.read_line(line, &mut ended).is_some() };
            if !fits {
                return Err(BadText(number));
            }
        }
        if ended && target.holds_together() { Ok(target) } else { Err(BadText(0)) }
    }
}

impl Target {
    /// `None` = makes no sense.
    fn read_line(&mut self, line: &str, ended: &mut bool) -> Option<()> {
        let mut words = line.split_ascii_whitespace();
        match words.next()? {
            "generation" => self.generation = words.next()?.parse().ok()?,
            "options" => {
                for word in words.by_ref() {
                    match word {
                        "abort" => self.abort = true,
                        "aptpl" => self.aptpl = true,
                        _ => return None,
                    }
                }
            }
            "capabilities" => self.capabilities = Some(read_capabilities(&mut words)?),
            "reservation" => {
                let kind = words.next()?.parse().ok()?;
                let holder = match words.next()? {
                    "all" => None,
                    "nexus" => Some(words.next()?.parse().ok()?),
                    _ => return None,
                };
                self.reservation = Some(Reservation { holder, kind });
            }
            "nexus" => self.nexuses.push(read_nexus(&mut words)?).ok()?,
            "end" => *ended = true,
            _ => return None,
        }
        words.next().is_none().then_some(())
    }

    /// What the model keeps true of itself: nexuses rise, keys are not 0, and the reservation has a holder.
    fn holds_together(&self) -> bool {
        let rising = self.nexuses.is_sorted_by(|one, next| one.id < next.id);
        let keys = self.registrations().all(|(_, key)| key.0 != 0);
        let held = self.reservation.is_none_or(|reservation| match reservation.holder {
            None => self.registrations().next().is_some() && holder(reservation.kind, 0).is_none(),
            Some(nexus) => self.is_registered(nexus) && holder(reservation.kind, nexus) == Some(nexus),
        } && is_type(reservation.kind));
        rising && keys && held
    }
}

fn read_capabilities(words: &mut SplitAsciiWhitespace<'_>) -> Option<Capabilities> {
    let mut capabilities =
        Capabilities { ptpl_capable: false, ptpl_active: false, write_exclusive_registrants_only: false };
    for word in words {
        match word {
            "ptpl_capable" => capabilities.ptpl_capable = true,
            "ptpl_active" => capabilities.ptpl_active = true,
            "wero" => capabilities.write_exclusive_registrants_only = true,
            "-" => {}
            _ => return None,
        }
    }
    Some(capabilities)
}

fn read_nexus(words: &mut SplitAsciiWhitespace<'_>) -> Option<Nexus> {
    let id = words.next()?.parse().ok()?;
    if words.next()? != "key" {
        return None;
    }
    let key = match words.next()? {
        "-" => None,
        key => Some(PrKey(u64::from_str_radix(key.strip_prefix("0x")?, 16).ok()?)),
    };
    let mut attentions = 0;
    while let Some(word) = words.next() {
        let code = words.next().filter(|_| word == "attention")?;
        let named = |attention: &Attention| {
            let (asc, ascq) = attention.code();
            let mut text = heapless::String::<8>::new();
            fmt::write(&mut text, format_args!("{asc:02x}/{ascq:02x}")).is_ok() && text == code
        };
        attentions |= Attention::ALL.into_iter().find(named)?.bit();
    }
    Some(Nexus { id, key, attentions })
}
