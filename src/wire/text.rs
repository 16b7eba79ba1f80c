//! Any message as one line, for logs and the console.

use core::fmt;

use super::{Message, SpaceOrder, SpaceReport};
use crate::base::{Phase, Proposal, View};

struct ViewText<'a>(&'a View);

impl fmt::Display for ViewText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.0;
        write!(f, "{} members [{}] victims [{}]", view.id, view.members, view.victims)?;
        if !view.reregister.is_empty() {
            write!(f, " reregister [{}]", view.reregister)?;
        }
        write!(f, "{} config {}", if view.holds_qdisk { " qdisk" } else { "" }, view.config.version)
    }
}

struct ProposalText<'a>(&'a Proposal);

impl fmt::Display for ProposalText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ViewText(&self.0.view).fmt(f)?;
        match &self.0.base {
            Some(base) => write!(f, " on {}", base.id),
            None => f.write_str(" on nothing"),
        }
    }
}

struct SpaceText<'a>(&'a SpaceReport);

impl fmt::Display for SpaceText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SpaceReport { name, stay, leaving, running, stopped, failed } = self.0;
        write!(f, " {name} stay {}", stay.0)?;
        if let Some((change, members)) = running {
            write!(f, " runs {change} [{members}]")?;
        }
        for (what, number) in [("stopped", stopped), ("failed", failed)] {
            if *number > 0 {
                write!(f, " {what} {number}")?;
            }
        }
        f.write_str(if *leaving { " leaving" } else { "" })
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Withdrawn => "withdrawn",
        Phase::Accepted => "accepted",
        Phase::Committed => "committed",
        Phase::Released => "released",
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Heartbeat(beat) => write!(
                f,
                "heartbeat {} echo {} known {} promised {} {} {} stopped {} hears [{}] score {} config {} spaces {} {}",
                beat.number,
                beat.echo,
                beat.known_incarnation,
                beat.promised,
                if beat.released { "released" } else { "committed" },
                beat.committed,
                beat.stopped,
                beat.hears,
                beat.score,
                beat.config,
                beat.spaces,
                beat.standing
            ),
            Message::Prepare { term } => write!(f, "prepare {term}"),
            Message::Promise { term, accepted: Some(proposal), phase: far, standing } => {
                write!(f, "promise {term} {standing} {} {}", phase(*far), ProposalText(proposal))
            }
            Message::Promise { term, accepted: None, standing, .. } => write!(f, "promise {term} {standing} nothing"),
            Message::Refuse { term, promised } => write!(f, "refuse {term} promised {promised}"),
            Message::Accept { round, proposal } => write!(f, "accept round {round} {}", ProposalText(proposal)),
            Message::Accepted { round, id, standing } => write!(f, "accepted round {round} {id} {standing}"),
            Message::Commit { view, phase: far } => write!(f, "{} {}", phase(*far), ViewText(view)),
            Message::Ack { id, spaces } => write!(f, "ack {id} spaces {spaces}"),
            Message::Registered { id, nonce } => write!(f, "registered {id} nonce {:016x}", nonce.0),
            Message::JoinAnswer { id, nonce } => write!(f, "join-answer {id} nonce {:016x}", nonce.0),
            Message::Withdrawn { id } => write!(f, "withdrawn {id}"),
            Message::Spaces { view, version, spaces } => {
                write!(f, "spaces {version} under {view}")?;
                spaces.iter().flatten().try_for_each(|space| SpaceText(space).fmt(f))
            }
            Message::SpaceOrder { change, name, order: SpaceOrder::Stop } => write!(f, "stop {name} for {change}"),
            Message::SpaceOrder { change, name, order: SpaceOrder::Start { members, .. } } => {
                write!(f, "start {name} for {change} with [{members}]")
            }
            Message::PlockAsk { reign, batch, items, heard } => {
                write!(f, "plock-ask {batch} under {reign}, heard {heard}, {} items", items.iter().flatten().count())
            }
            Message::ConfigAsk { config, offset } => write!(f, "config-ask {config} from {offset}"),
            Message::ConfigPiece { config, offset, total, .. } => {
                write!(f, "config-piece {config}, {offset} of {total}")
            }
            Message::PlockTell { reign, batch, answers, heard, .. } => {
                let count = answers.iter().flatten().count();
                write!(f, "plock-tell {batch} under {reign}, heard {heard}, {count} answers")
            }
        }
    }
}
