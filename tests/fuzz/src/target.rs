//! The emulated target's text: what can be read is a target that holds together, and reads back as it was.

use quorate::base::PrKey;
use quorate::scsi::Target;
use quorate::scsi::target::{Access, Request};

use crate::input::Input;
use crate::values;

/// Ends the text and begins the commands that are then sent to the target.
const END: &[u8] = b"\nend\n";

/// A text, and a script of commands behind its `end`.
pub fn target(bytes: &[u8]) {
    let cut = bytes.windows(END.len()).position(|window| window == END).map_or(bytes.len(), |at| at + END.len());
    let (text, script) = bytes.split_at(cut);
    let Ok(text) = core::str::from_utf8(text) else { return };
    let mut target: Target = match text.parse() {
        Ok(target) => target,
        Err(error) => return assert!(error.0 as usize <= text.lines().count()),
    };
    assert_eq!(text.lines().last(), Some("end"), "a text that is cut short is refused");
    reads_back(&target);
    let mut input = Input::new(script);
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        act(&mut input, &mut target);
        reads_back(&target);
    }
}

fn reads_back(target: &Target) {
    let text = target.to_string();
    assert_eq!(text.parse().as_ref(), Ok(target), "{text}");
    for (end, _) in text.match_indices('\n') {
        assert!(text[..end].parse::<Target>().is_err() || end + 1 == text.len(), "cut short");
    }
}

fn act(input: &mut Input<'_>, target: &mut Target) {
    let nexus = u32::from(input.below(5));
    let before = (target.registrations().collect::<Vec<_>>(), target.held(), target.generation());
    let request = request(input);
    let outcome = match request {
        None => return target.power_cycle(input.flag()),
        Some(request) => target.execute(nexus, request),
    };
    let after = (target.registrations().collect::<Vec<_>>(), target.held(), target.generation());
    assert!(outcome.is_ok() || before == after, "what was refused changed something");
    if let Some(held) = target.held() {
        let outsider = 77;
        assert!(!target.is_registered(outsider) && !target.may(outsider, Access::Write), "{held:?}");
    }
}

/// `None` = the power goes.
fn request(input: &mut Input<'_>) -> Option<Request> {
    let kind = 1 + input.below(9);
    let key = |input: &mut Input<'_>| PrKey(u64::from(input.below(4)));
    Some(match input.below(8) {
        0 | 1 => Request::Pr(values::command(input)),
        2 => Request::Register { existing: key(input), new: key(input), aptpl: input.flag() },
        3 => Request::Reserve { key: key(input), kind },
        4 => Request::Release { key: key(input), kind },
        5 => Request::Clear { key: key(input) },
        6 => Request::Preempt { own: key(input), victim: key(input), kind, abort: input.flag() },
        _ => return None,
    })
}
