//! What an agent says on its console, and where an answer is in it.

use serde_json::Value;

/// The agent clears the line it stands in before it speaks up: what begins so was not asked for.
const UNASKED: &str = "\u{1b}[K";

/// The answer to `line` in what was said up to the refusal of `mark`.
pub fn answer(said: &str, line: &str, mark: &str) -> String {
    // What is typed is shown again: behind a prompt, or first of all where the prompt was there before.
    let prompt = format!("> {line}");
    let is_echo = |shown: &str| shown == line || shown.ends_with(&prompt);
    let lines: Vec<&str> = said.lines().collect();
    let from = lines.iter().rposition(|shown| is_echo(shown)).map_or(0, |at| at + 1);
    let answer = &lines[from..];
    let kept = answer.iter().copied().filter(|line| !line.contains(UNASKED) && !line.contains(mark));
    kept.collect::<Vec<_>>().join("\n")
}

/// What a console said, without what the harness typed and was answered.
pub fn without_questions(said: &str) -> String {
    let typed = |line: &str| line.contains("end-of-answer-") || line.contains("terminal length 0");
    let asked = |line: &&str| !line.starts_with('{') && !typed(line) && !line.ends_with(" json");
    said.lines().filter(asked).collect::<Vec<_>>().join("\n")
}

/// The report of this kind in an answer, if it is there in one piece.
pub fn report(answer: &str, noun: &str) -> Option<Value> {
    let objects = answer.lines().filter(|line| line.starts_with('{'));
    objects.filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|report| report["kind"] == noun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_between_what_nobody_asked_for() {
        let said = "sta\u{1b}[K[ 1.0] quorate: Has quorum.\nmy-vm1> status\nNodes: 5\nmy-vm1> \u{1b}[K[ 1.1] quorate: x\nmy-vm1> m-1\n";
        assert_eq!(answer(said, "status", "m-1"), "Nodes: 5");
        assert_eq!(answer("status\nNodes: 5\nmy-vm1> m-1\n", "status", "m-1"), "Nodes: 5");
    }

    #[test]
    fn a_report_is_whole_or_it_is_none() {
        let said = "{\"kind\":\"keys\",\n{\"kind\":\"view\"}\n{\"kind\":\"keys\",\"disks\":[]}";
        assert_eq!(report(said, "keys").unwrap()["disks"], serde_json::json!([]));
        assert_eq!(report(said, "status"), None);
    }
}
