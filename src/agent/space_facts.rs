//! What is shown of lockspaces: the core's part, and how far the kernel has recovered.

use heapless::Vec;

use super::spaces::Spaces;
use crate::base::limits::SPACES_MAX;
use crate::cli::{SpaceFacts, SpaceState, SpaceWait};
use crate::cluster::Node;
use crate::cluster::lockspaces::{SpaceStatus, Waits, What};

/// Every lockspace that this node's kernel is in, or on its way into or out of.
pub fn gather(node: &Node, kernel: Option<&Spaces>) -> Vec<SpaceFacts, SPACES_MAX> {
    let entries = kernel.map(Spaces::states).unwrap_or_default();
    let spaces = node.spaces_status();
    spaces
        .into_iter()
        .map(|(space, waits)| {
            let entry = entries.iter().find(|entry| entry.name == space.name);
            let recovering = entry.is_some_and(|entry| !entry.progress.is_done());
            SpaceFacts {
                name: space.name,
                id: space.name.id(),
                members: space.members,
                change: (space.change.view.epoch, space.change.number),
                state: state(space.what, recovering),
                waits: waits_for(node, &space, waits),
                since_ms: space.since_ms,
                error: space.error,
            }
        })
        .collect()
}

fn state(what: What, recovering: bool) -> SpaceState {
    match what {
        What::Entering => SpaceState::Entering,
        What::Starting => SpaceState::Starting,
        What::Running if recovering => SpaceState::Recovering,
        What::Running => SpaceState::Running,
        What::Stopping => SpaceState::Stopping,
        What::Stopped => SpaceState::Stopped,
        What::Leaving => SpaceState::Leaving,
    }
}

/// The coordinator knows whom it waits for. Everybody else knows its own kernel, and whom to ask.
fn waits_for(node: &Node, space: &SpaceStatus, waits: Option<Waits>) -> Option<SpaceWait> {
    match waits {
        Some(Waits::Reports(nodes)) => return Some(SpaceWait::Report(nodes)),
        Some(Waits::ToStop(nodes)) => return Some(SpaceWait::ToStop(nodes)),
        Some(Waits::ToStart(nodes)) => return Some(SpaceWait::ToStart(nodes)),
        Some(Waits::Quorum) => return Some(SpaceWait::Quorum),
        Some(Waits::Release) => return Some(SpaceWait::Release),
        None => {}
    }
    match space.what {
        What::Running => None,
        What::Starting | What::Stopping => Some(SpaceWait::Kernel),
        What::Entering | What::Stopped | What::Leaving => {
            let coordinator = node.coordinator().filter(|coordinator| *coordinator != node.id());
            coordinator.map(SpaceWait::Coordinator)
        }
    }
}
