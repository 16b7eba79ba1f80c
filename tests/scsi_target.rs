//! The target model against its specification, tests/scsi_target.txt.

mod scsi_table;
mod table;

use quorate::base::PrKey;
use quorate::base::limits::KEYS_MAX;
use quorate::scsi::target::{Access, Attention, Request};
use quorate::scsi::{Capabilities, PrCommand, PrError, PrReply, Target};
use scsi_table::key;

/// The operations that the product has no words for.
fn request(text: &str) -> Request {
    if let Some(command) = scsi_table::command(text) {
        return Request::Pr(command);
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let kind = |word: &str| word.parse().expect("a type");
    match words[..] {
        ["register", existing, "to", new] => Request::Register { existing: key(existing), new: key(new), aptpl: false },
        ["reserve", own, "type", of] => Request::Reserve { key: key(own), kind: kind(of) },
        ["release", own, "type", of] => Request::Release { key: key(own), kind: kind(of) },
        ["clear", own] => Request::Clear { key: key(own) },
        ["preempt", own, victim, "type", of] => {
            Request::Preempt { own: key(own), victim: key(victim), kind: kind(of), abort: false }
        }
        ["preempt-abort", own, victim, "type", of] => {
            Request::Preempt { own: key(own), victim: key(victim), kind: kind(of), abort: true }
        }
        _ => panic!("{text}?"),
    }
}

/// `target ...` starts anew; `N words` is a command of nexus N; `N can` lists what N may do to the medium.
fn answer(target: &mut Target, input: &str) -> String {
    let outcome = match input.split_once(' ').unwrap_or((input, "")) {
        ("target", options) => {
            let capabilities = Capabilities {
                ptpl_capable: !options.contains("no-ptpl"),
                ptpl_active: false,
                write_exclusive_registrants_only: true,
            };
            let capabilities = (!options.contains("no-capabilities")).then_some(capabilities);
            *target = Target::new(!options.contains("no-abort"), capabilities);
            return String::new();
        }
        ("power-cycle", keep) => {
            target.power_cycle(keep == "keep");
            return String::new();
        }
        ("reset", _) => {
            target.reset();
            return String::new();
        }
        (nexus, words) => {
            let nexus = nexus.parse().expect("a nexus");
            match words {
                "can" => {
                    let may = |access| target.may(nexus, access);
                    return match (may(Access::Read), may(Access::Write)) {
                        (true, true) => "read write",
                        (true, false) => "read",
                        (false, true) => "write",
                        (false, false) => "nothing",
                    }
                    .to_owned();
                }
                "session-lost" => {
                    target.raise(nexus, Attention::NexusLoss);
                    return String::new();
                }
                "resized" => {
                    target.raise(nexus, Attention::CapacityChanged);
                    return String::new();
                }
                "read" => target.access(nexus, Access::Read).map(|()| PrReply::Good),
                "write" => target.access(nexus, Access::Write).map(|()| PrReply::Good),
                words => target.execute(nexus, request(words)),
            }
        }
    };
    // Whatever state a rule leads to, its text leads back to it.
    assert_eq!(target.to_string().parse().as_ref(), Ok(&*target), "after {input}");
    match outcome {
        Ok(reply) => reply.to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn rules_are_as_laid_down() {
    let mut target = Target::default();
    table::run("tests/scsi_target.txt", |input| answer(&mut target, input));
}

#[test]
fn a_full_target_refuses_to_register_and_gives_up_only_idle_nexuses() {
    let mut target = Target::default();
    let register = |nexus: u32| PrCommand::Register { key: PrKey(nexus.into()), aptpl: false };
    // Nexuses that are only met do not take the room of those that register.
    for nexus in 0..2 * KEYS_MAX as u32 {
        assert_eq!(target.execute(10_000 + nexus, PrCommand::TestUnitReady), Ok(PrReply::Good));
    }
    for nexus in 1..=KEYS_MAX as u32 {
        assert_eq!(target.execute(nexus, register(nexus)), Ok(PrReply::Good));
    }
    let full = target.clone();
    let refused = Err(PrError::IllegalRequest { asc: 0x55, ascq: 0x04 });
    assert_eq!(target.execute(9999, register(9999)), refused);
    assert_eq!(target, full, "a refusal changes nothing");
    let Ok(PrReply::Keys { keys, .. }) = target.execute(1, PrCommand::ReadKeys) else { panic!("keys") };
    assert_eq!(keys.len(), KEYS_MAX);
    // Changing a key needs no room.
    assert_eq!(target.execute(1, PrCommand::Register { key: PrKey(7777), aptpl: false }), Ok(PrReply::Good));
    assert_eq!(target.to_string().parse(), Ok(target));
}

#[test]
fn the_generation_wraps() {
    let text = Target::default().to_string().replace("generation 0", "generation 4294967295");
    let mut target: Target = text.parse().expect("a state");
    assert_eq!(target.execute(1, PrCommand::Register { key: PrKey(1), aptpl: false }), Ok(PrReply::Good));
    assert_eq!(target.generation(), 0);
}

/// A state to spoil: two registrants, a reservation, an attention.
fn busy_target() -> Target {
    let mut target = Target::default();
    for nexus in 1..=3 {
        let done = target.execute(nexus, PrCommand::Register { key: PrKey(u64::from(nexus) << 32 | 5), aptpl: true });
        assert_eq!(done, Ok(PrReply::Good));
    }
    let (own, victim) = (PrKey(1 << 32 | 5), PrKey(3 << 32 | 5));
    assert_eq!(target.execute(1, PrCommand::Reserve { key: own }), Ok(PrReply::Good));
    assert_eq!(target.execute(1, PrCommand::PreemptAbort { own, victim }), Ok(PrReply::Good));
    target
}

#[test]
fn a_text_that_is_cut_short_is_refused() {
    let text = busy_target().to_string();
    for end in 0..text.len() - 1 {
        assert!(text[..end].parse::<Target>().is_err(), "cut at {end}:\n{}", &text[..end]);
    }
}

#[test]
fn a_text_that_contradicts_itself_is_refused() {
    let text = busy_target().to_string();
    assert!(text.parse::<Target>().is_ok());
    for (sound, unsound) in [
        ("version 1", "version 2"),
        ("reservation 5 nexus 1", "reservation 5 nexus 3"),
        ("reservation 5 nexus 1", "reservation 5 all"),
        ("reservation 5 nexus 1", "reservation 7 nexus 1"),
        ("reservation 5 nexus 1", "reservation 2 nexus 1"),
        ("nexus 2 key", "nexus 1 key"),
        ("0x200000005", "0x0"),
        ("0x200000005", "200000005"),
        ("2a/05", "2a/06"),
        ("generation 4", "generation -4"),
        ("generation 4", "generation 4 5"),
    ] {
        assert!(text.contains(sound), "{sound} is not in\n{text}");
        assert!(text.replace(sound, unsound).parse::<Target>().is_err(), "{unsound} was taken");
    }
}

#[test]
fn a_state_survives_its_binary_form() {
    let target = busy_target();
    let mut room = [0; 8192];
    let bytes = postcard::to_slice(&target, &mut room).expect("room");
    assert_eq!(postcard::from_bytes(bytes), Ok(target));
}
