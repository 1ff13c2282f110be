//! What a command says at its end, counted over its resources. Source: `calicoctl.md` §3.4 of the contract.

use crate::io::Failure;
use model::Kind;

/// A verb that works through resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `create`
    Create,
    /// `apply`
    Apply,
    /// `replace`
    Replace,
    /// `delete`
    Delete,
    /// `validate`
    Validate,
}

impl Verb {
    /// As in "failed to create".
    pub fn name(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Apply => "apply",
            Verb::Replace => "replace",
            Verb::Delete => "delete",
            Verb::Validate => "validate",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Verb::Create => "created",
            Verb::Apply => "applied",
            Verb::Replace => "replaced",
            Verb::Delete => "deleted",
            Verb::Validate => "validated",
        }
    }
}

/// Successes and failures so far.
#[derive(Debug)]
pub struct Tally {
    verb: Verb,
    kinds: Vec<Kind>,
    succeeded: usize,
    failures: Vec<(Kind, String)>,
}

impl Tally {
    /// Nothing done yet of resources of these kinds, one entry a resource.
    pub fn new(verb: Verb, kinds: Vec<Kind>) -> Tally {
        Tally { verb, kinds, succeeded: 0, failures: Vec::new() }
    }

    /// Counts one resource.
    pub fn count(&mut self, kind: Kind, done: Result<(), String>) {
        match done {
            Ok(()) => self.succeeded += 1,
            Err(error) => self.failures.push((kind, error)),
        }
    }

    /// `'IPPool' ` when all are of one kind, nothing otherwise.
    fn kind(&self) -> String {
        match self.kinds.split_first() {
            Some((first, rest)) if rest.iter().all(|kind| kind == first) => format!("'{}' ", first.name()),
            _ => String::new(),
        }
    }

    /// The line for standard output, if there is one, and how the command ends.
    pub fn report(&self) -> (Option<String>, Result<(), Failure>) {
        match self.verb {
            Verb::Delete => self.report_delete(),
            Verb::Replace => self.report_replace(),
            Verb::Create | Verb::Apply | Verb::Validate => self.report_all(),
        }
    }

    fn success(&self) -> String {
        format!("Successfully {} {} {}resource(s)", self.verb.done(), self.succeeded, self.kind())
    }

    fn partial(&self, handled: usize) -> String {
        let (done, total, kind) = (self.verb.done(), self.kinds.len(), self.kind());
        format!("Partial success: {done} the first {handled} out of {total} {kind}resources:")
    }

    fn report_all(&self) -> (Option<String>, Result<(), Failure>) {
        if self.failures.is_empty() {
            return (Some(self.success()), Ok(()));
        }
        let errors: Vec<&str> = self.failures.iter().map(|(_, error)| error.as_str()).collect();
        let errors = errors.join(" ");
        let verb = self.verb.name();
        if self.succeeded == 0 {
            let (any, s) = if self.kinds.len() > 1 { ("any ", "s") } else { ("", "") };
            let text = format!("failed to {verb} {any}{}resource{s}: [{errors}]", self.kind());
            return (None, Err(Failure::message(text)));
        }
        // Calico's own arithmetic: the line appears only when successes outnumber failures.
        let partial = (self.succeeded > self.failures.len()).then(|| self.partial(self.succeeded));
        (partial, Err(Failure::message(format!("hit error: [{errors}]"))))
    }

    /// A failed replacement counts as handled, and of several errors the last is told.
    fn report_replace(&self) -> (Option<String>, Result<(), Failure>) {
        match self.failures.last() {
            None => (Some(self.success()), Ok(())),
            Some((_, error)) => {
                let handled = self.succeeded + self.failures.len();
                (Some(self.partial(handled)), Err(Failure::message(format!("hit error: {error}"))))
            }
        }
    }

    fn report_delete(&self) -> (Option<String>, Result<(), Failure>) {
        let success = (self.succeeded > 0).then(|| self.success());
        if self.failures.is_empty() {
            return (success, Ok(()));
        }
        let line = |(kind, error): &(Kind, String)| {
            format!("Failed to delete '{}' resource: {error}\n", kind.name())
        };
        (success, Err(Failure::Message(self.failures.iter().map(line).collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(verb: Verb, outcomes: &[(Kind, Result<(), &str>)]) -> (Option<String>, Option<String>) {
        let mut tally = Tally::new(verb, outcomes.iter().map(|(kind, _)| *kind).collect());
        for (kind, done) in outcomes {
            tally.count(*kind, done.map_err(str::to_owned));
        }
        let (line, end) = tally.report();
        let error = end.err().map(|failure| match failure {
            Failure::Message(text) => text,
            other => panic!("{other:?}"),
        });
        (line, error)
    }

    fn said(line: &str, error: &str) -> (Option<String>, Option<String>) {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        (some(line), some(error))
    }

    const OK: Result<(), &str> = Ok(());
    const SET: Kind = Kind::GlobalNetworkSet;

    #[test]
    fn all_well() {
        assert_eq!(
            tally(Verb::Create, &[(SET, OK)]),
            said("Successfully created 1 'GlobalNetworkSet' resource(s)", "")
        );
        assert_eq!(
            tally(Verb::Validate, &[(Kind::Tier, OK), (Kind::IPPool, OK)]),
            said("Successfully validated 2 resource(s)", "")
        );
        assert_eq!(
            tally(Verb::Replace, &[(SET, OK), (SET, OK)]),
            said("Successfully replaced 2 'GlobalNetworkSet' resource(s)", "")
        );
    }

    #[test]
    fn nothing_worked() {
        assert_eq!(
            tally(Verb::Apply, &[(SET, Err("a"))]),
            said("", "failed to apply 'GlobalNetworkSet' resource: [a]")
        );
        assert_eq!(
            tally(Verb::Create, &[(SET, Err("a")), (SET, Err("b"))]),
            said("", "failed to create any 'GlobalNetworkSet' resources: [a b]")
        );
        assert_eq!(
            tally(Verb::Validate, &[(SET, Err("a")), (Kind::IPPool, Err("b"))]),
            said("", "failed to validate any resources: [a b]")
        );
    }

    #[test]
    fn some_worked() {
        assert_eq!(tally(Verb::Create, &[(SET, Err("a")), (SET, OK)]), said("", "hit error: [a]"));
        assert_eq!(
            tally(Verb::Create, &[(SET, OK), (SET, Err("a")), (SET, OK)]),
            said(
                "Partial success: created the first 2 out of 3 'GlobalNetworkSet' resources:",
                "hit error: [a]"
            )
        );
    }

    #[test]
    fn replace_counts_failures_as_handled() {
        assert_eq!(
            tally(Verb::Replace, &[(SET, Err("a"))]),
            said(
                "Partial success: replaced the first 1 out of 1 'GlobalNetworkSet' resources:",
                "hit error: a"
            )
        );
        assert_eq!(
            tally(Verb::Replace, &[(SET, Err("a")), (SET, OK), (SET, Err("b"))]),
            said(
                "Partial success: replaced the first 3 out of 3 'GlobalNetworkSet' resources:",
                "hit error: b"
            )
        );
    }

    #[test]
    fn delete_tells_both() {
        assert_eq!(
            tally(Verb::Delete, &[(SET, Err("a")), (SET, OK), (SET, Err("b"))]),
            said(
                "Successfully deleted 1 'GlobalNetworkSet' resource(s)",
                "Failed to delete 'GlobalNetworkSet' resource: a\nFailed to delete 'GlobalNetworkSet' resource: b\n"
            )
        );
    }
}
