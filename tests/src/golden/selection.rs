//! Which cases and steps are replayed now; the rest waits for the parts it is about.

use super::case::Step;

/// Folders and files that are in, by prefix of their path.
const IN: [&str; 11] = [
    "store/",
    "errors/",
    "ipam/",
    "cni/",
    "ctl/get/",
    "ctl/files",
    "ctl/version",
    "ctl/ipam/show",
    "ctl/ipam/configure",
    "ctl/ipam/release",
    "ctl/datastore/lock-empty",
];

/// Cases that wait although their folder is in.
const WAITING: [&str; 4] = [
    // works from reports of `ipam check`
    "ctl/ipam/release-from-report",
    // tunnel addresses are the node agent's
    "ipam/tunnel-addresses",
    // arguments of `ipam check` and `ipam split`
    "errors/command/ipam-arguments",
    // templates of Go's
    "ctl/get/go-templates",
];

/// Verbs of later issues; a verb that upstream does not know either is replayed, since it must be refused.
const LATER: [&[&str]; 7] = [
    &["node"],
    &["cluster"],
    &["convert"],
    &["ipam", "check"],
    &["ipam", "split"],
    &["datastore", "migrate", "export"],
    &["datastore", "migrate", "import"],
];

/// Whether a case is replayed.
pub fn selected(path: &str) -> bool {
    IN.iter().any(|prefix| path.starts_with(prefix)) && !WAITING.contains(&path)
}

/// Whether a step's program is run; of one that is not, the recorded changes of the store are planted instead.
pub fn replayed(step: &Step) -> bool {
    let Some((program, arguments)) = step.run.split_first() else { return false };
    match program.as_str() {
        "calicoctl" => {
            let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let template = words
                .iter()
                .any(|word| ["go-template", "jsonpath"].iter().any(|form| word.starts_with(form)));
            !(template || LATER.iter().any(|verb| words.starts_with(verb)))
        }
        "calico" | "calico-ipam" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::case::parse;

    fn step(run: &str) -> Step {
        parse(&format!("case: c\nabout: a\nsteps: [{{run: [{run}]}}]")).unwrap().steps.remove(0)
    }

    #[test]
    fn folders_of_the_spine_are_in_and_others_wait() {
        assert!(selected("store/IPPool/full"));
        assert!(selected("ctl/ipam/show-empty"));
        assert!(selected("ctl/ipam/release"));
        assert!(!selected("ctl/ipam/release-from-report"));
        assert!(!selected("ctl/node/status"));
        assert!(!selected("ctl/ipam/split"));
        assert!(!selected("ipam/tunnel-addresses"));
    }

    #[test]
    fn steps_are_chosen_by_their_verb() {
        assert!(replayed(&step("calicoctl, get, ippool, -o, wide")));
        assert!(replayed(&step("calicoctl, fetch")));
        assert!(replayed(&step("calico-ipam")));
        assert!(replayed(&step("calicoctl, get, ippool, -o, custom-columns=NAME")));
        assert!(!replayed(&step("calicoctl, ipam, check")));
        assert!(!replayed(&step("calico-all, component")));
    }
}
