//! The directed scenarios of `quorate_sim::directed`, a test each.

use quorate_sim::directed;

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            play(stringify!($name));
        })*
    };
}

quorate_sim::each_directed_scenario!(tests);

fn play(name: &str) {
    let scenario = directed::ALL.iter().find(|scenario| scenario.name == name).expect("of the same list");
    (scenario.play)();
}
