//! How long the survivors are without their file system.

use anyhow::Result;

use super::faults::{self, Fault};
use super::stage::Stage;
use crate::scenario::story::Story;

const ROUNDS: usize = 10;

/// Pauses one node after the other while it works.
pub fn run(story: &mut Story, stage: &Stage<'_>) -> Result<()> {
    let (mut released, mut replayed) = (Vec::new(), Vec::new());
    for (round, &node) in (1..=ROUNDS).zip(stage.ids().iter().cycle()) {
        println!("   round {round} of {ROUNDS}");
        let fallen = faults::fall(story, stage, &[(node, Fault::Pause)])?;
        released.push(fallen.released.as_millis());
        replayed.push(fallen.replayed.as_millis());
        faults::rise(story, stage, &fallen)?;
    }
    let figures = format!("released after {}; journal replayed after {}", spread(&mut released), spread(&mut replayed));
    story.saw(&figures);
    story.figure(figures);
    Ok(())
}

/// Median and range.
fn spread(took: &mut [u128]) -> String {
    took.sort_unstable();
    format!("{} ms ({} to {})", took[took.len() / 2], took[0], took[took.len() - 1])
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_median_stands_before_the_range() {
        assert_eq!(super::spread(&mut [5, 1, 9]), "5 ms (1 to 9)");
    }
}
