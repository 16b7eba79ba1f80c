//! What two configurations differ in, key by key.

use crate::config::show::{Table, lines};
use crate::config::{Cluster, show};

/// A table, and its keys with their values.
type Flat = Vec<(Table, Vec<(&'static str, String)>)>;

fn flat(cluster: &Cluster) -> Flat {
    let mut flat = Flat::new();
    // Fails only if the closure does.
    let _ = lines(cluster, &mut |table, line| {
        match (line, flat.last_mut()) {
            (Some((key, value)), Some((_, keys))) => keys.push((key, value.to_string())),
            _ => flat.push((table, Vec::new())),
        }
        Ok(())
    });
    flat
}

/// A line for each key that differs. Nodes are compared by their ids, disks, heuristics, mounts and hooks by their positions; the
/// cluster's keys and a password only as to whether they are other ones.
pub fn differences(before: &Cluster, after: &Cluster) -> Vec<String> {
    let (old, new) = (flat(before), flat(after));
    let mut found = Vec::new();
    let password = |cluster: &Cluster| cluster.console.login.as_ref().map(|login| login.password.clone());
    // Where only one has it, that shows in the keys.
    let secrets = [
        ("cluster.key", before.key != after.key),
        ("cluster.previous_key", before.previous_key.zip(after.previous_key).is_some_and(|(old, new)| old != new)),
        ("console.password", password(before).zip(password(after)).is_some_and(|(old, new)| old != new)),
    ];
    for (place, _) in secrets.iter().filter(|(_, differs)| *differs) {
        found.push(format!("{place}: {} -> another one", show::KEY_SET));
    }
    for (table, keys) in &old {
        let Some((_, others)) = new.iter().find(|(other, _)| other == table) else {
            found.push(whole(*table, "removed", keys));
            continue;
        };
        for (key, value) in keys {
            match others.iter().find(|(other, _)| other == key) {
                Some((_, other)) if other == value => {}
                Some((_, other)) => found.push(format!("{table}.{key}: {value} -> {other}")),
                None => found.push(format!("{table}.{key}: {value} -> left out")),
            }
        }
        for (key, value) in others.iter().filter(|(other, _)| !keys.iter().any(|(key, _)| key == other)) {
            found.push(format!("{table}.{key}: left out -> {value}"));
        }
    }
    for (table, keys) in new.iter().filter(|(table, _)| !old.iter().any(|(other, _)| other == table)) {
        found.push(whole(*table, "added", keys));
    }
    found
}

fn whole(table: Table, what: &str, keys: &[(&'static str, String)]) -> String {
    let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{table}: {what}: {}", keys.join(", "))
}
