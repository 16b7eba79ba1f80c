//! Every counterexample has its regression, and those that are found quickly are brought back here; `cargo xtask model`
//! brings all of them back, and fails if one does not come.

use quorate_model::regressions;

const NAMES: [&str; 24] = [
    "A1", "A2", "A3", "A4", "A5", "A6", "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "C1", "C2", "C3", "C4",
    "D1", "D2", "D3", "D4", "D5",
];

#[test]
fn every_counterexample_has_a_regression() {
    let all = regressions::all();
    for name in NAMES {
        assert!(all.iter().any(|regression| regression.name == name), "{name} has none");
    }
}

#[test]
fn counterexamples_come_back_without_their_rules() {
    let mut tried = 0;
    for mut regression in regressions::all().into_iter().filter(|regression| regression.quick) {
        regression.states = 150_000;
        let verdict = regression.run(2);
        assert!(verdict.holds(regression.property), "{}: {:?}", regression.name, verdict.without.violation);
        tried += 1;
    }
    assert!(tried >= 12);
}
