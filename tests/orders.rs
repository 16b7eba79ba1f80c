//! What operators order, on real agents: it is done, and `events` tells afterwards what was ordered.

mod lab;
mod process;

use quorate::cli::{Exit, socket};
use quorate::cluster::Settings;
use quorate::config::Cluster;

use lab::Lab;

fn next(cluster: &Cluster) -> Cluster {
    let mut next = cluster.clone();
    next.version += 1;
    next.timing.suspect += 1;
    next
}

/// From a shell the agent gets the configuration and no file's name.
#[test]
fn a_configuration_from_a_shell_is_an_order_too() {
    let lab = Lab::new("applied", 2, |_| ());
    let mut agents = lab.start_all();
    let apply = |path: &str| lab.quorate(1, &["config", "apply", "--yes", path]);
    let older = lab.write_config("older", &Cluster { name: "other".try_into().unwrap(), ..next(&lab.cluster) });
    assert_ne!(apply(&older).0, Some(0));
    assert_eq!(lab.ordered(1), [""; 0], "it was refused");

    let second = next(&lab.cluster);
    let (code, _, why) = apply(&lab.write_config("second", &second));
    assert_eq!(code, Some(0), "{why}");
    let applied = |cluster: &Cluster| {
        let stamp = Settings::from_cluster(cluster).stamp();
        format!("An operator ordered `config apply` of configuration {stamp}.")
    };
    assert_eq!(lab.ordered(1), [applied(&second)]);
    agents[0].wait_line(&applied(&second));
    assert_eq!(lab.ordered(2), [""; 0], "it heard of it from its peer");

    // From a console: the file that was named, and once it was read what was in it.
    let third = next(&second);
    let order = format!("config apply {}", lab.write_config("third", &third));
    assert_eq!(socket::fetch(Some(&lab.socket(1)), &order).unwrap().0, Exit::Ok);
    agents[0].wait_line(&applied(&third));
    let none = format!("config apply {}", lab.folder.join("none").display());
    assert_eq!(socket::fetch(Some(&lab.socket(1)), &none).unwrap().0, Exit::Ok);
    agents[0].wait_line("refused: No such file");
    let told = |order: &str| format!("An operator ordered `{order}`.");
    assert_eq!(lab.ordered(1), [applied(&second), told(&order), applied(&third), told(&none)]);
}
