//! Tables and sets in memory: `iptables-restore --noflush` line by line, as plainly as can be.

use futures::future::{BoxFuture, FutureExt, ready};
use kernel::{IpSets, KernelError, RefusedMember, Restored, Variant, XTables, XTablesError};
use netfilter::ipset::{Family, Member, SetHeader, SetKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// A chain's rules, without its name.
pub type Chains = BTreeMap<String, Vec<String>>;
/// A table: family, variant, name.
pub type Key = (Family, Variant, &'static str);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    pub kind: SetKind,
    pub family: Family,
    pub max: u32,
    pub members: BTreeSet<Member>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub tables: BTreeMap<Key, Chains>,
    pub sets: BTreeMap<String, Set>,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happens, and the program says something without a line.
    Lost,
    /// It happens, but the program was killed before it could say so.
    Killed,
}

#[derive(Default)]
pub struct Inner {
    pub state: State,
    /// Calls so far: programs and changes of sets.
    pub calls: usize,
    /// Programs started.
    pub programs: usize,
    /// Which call fails, and how.
    pub fault: Option<(usize, Fault)>,
    /// One of so many calls fails too: nothing happens.
    pub lost_each: Option<usize>,
    /// Lines with this text are refused.
    pub refuses: Option<String>,
    /// Rules with this text are refused by the kernel: at the line with COMMIT.
    pub kernel_refuses: Option<String>,
    /// States after each change.
    pub history: Option<Vec<State>>,
}

#[derive(Clone, Default)]
pub struct World(pub Arc<Mutex<Inner>>);

const BUILT_IN: [(&str, &[&str]); 4] = [
    ("raw", &["PREROUTING", "OUTPUT"]),
    ("mangle", &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]),
    ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
    ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
];

/// The table as it is when nobody has changed it.
pub fn new_table(name: &str) -> Chains {
    let (_, chains) = BUILT_IN.iter().find(|(table, _)| *table == name).unwrap();
    chains.iter().map(|chain| ((*chain).to_owned(), Vec::new())).collect()
}

fn is_built_in(table: &str, chain: &str) -> bool {
    new_table(table).contains_key(chain)
}

/// The words after these in a rule.
fn after<'a>(rule: &'a str, words: &'a str) -> impl Iterator<Item = &'a str> {
    rule.split(words).skip(1).filter_map(|rest| rest.split(' ').next())
}

fn targets(rule: &str) -> impl Iterator<Item = &str> {
    after(rule, "--jump ").chain(after(rule, "--goto ")).chain(after(rule, "-j "))
}

fn is_used(chains: &Chains, name: &str) -> bool {
    chains.values().flatten().any(|rule| targets(rule).any(|target| target == name))
}

impl World {
    pub fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Others do something to a table.
    pub fn table<T>(&self, key: Key, change: impl FnOnce(&mut Chains) -> T) -> T {
        change(self.lock().state.tables.entry(key).or_insert_with(|| new_table(key.2)))
    }

    fn strikes(inner: &mut Inner) -> Option<Fault> {
        inner.calls += 1;
        if inner.lost_each.is_some_and(|each| inner.calls.is_multiple_of(each)) {
            return Some(Fault::Lost);
        }
        inner.fault.filter(|(at, _)| *at == inner.calls - 1).map(|(_, fault)| fault)
    }

    fn note(inner: &mut Inner) {
        let state = inner.state.clone();
        if let Some(history) = &mut inner.history {
            history.push(state);
        }
    }
}

/// The table after this input, or the line that is refused and why.
fn restored(
    state: &State,
    family: Family,
    variant: Variant,
    input: &str,
    refuses: Option<&str>,
) -> Result<(Key, Chains), (usize, String)> {
    let mut lines = (1..).zip(input.lines());
    let (_, first) = lines.next().unwrap();
    let name = first.strip_prefix('*').unwrap();
    let (name, _) = *BUILT_IN.iter().find(|(table, _)| *table == name).unwrap();
    let key = (family, variant, name);
    let mut chains = state.tables.get(&key).cloned().unwrap_or_else(|| new_table(name));
    let mut written: Vec<(usize, String)> = Vec::new();
    for (number, line) in lines {
        let fail = |why: &str| Err((number, format!("{why}: {line}")));
        if refuses.is_some_and(|text| line.contains(text)) {
            return fail("refused");
        }
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        if line == "COMMIT" {
            for (number, rule) in &written {
                for target in targets(rule).filter(|target| target.starts_with("cali-")) {
                    if !chains.contains_key(target) {
                        return Err((*number, format!("no chain {target}")));
                    }
                }
                for set in after(rule, "--match-set ") {
                    if state.sets.get(set).is_none_or(|set| set.family != family) {
                        return Err((*number, format!("no set {set}")));
                    }
                }
            }
            return Ok((key, chains));
        }
        if let Some(declared) = verb.strip_prefix(':') {
            assert_eq!(rest, "- [0:0]", "{line}");
            chains.insert(declared.to_owned(), Vec::new());
            continue;
        }
        if verb == "-X" {
            if chains.get(rest).is_none_or(|rules| !rules.is_empty()) || is_used(&chains, rest) {
                return fail("in use");
            }
            assert!(!is_built_in(name, rest));
            chains.remove(rest);
            continue;
        }
        let (chain, rule) = rest.split_once(' ').unwrap();
        let Some(rules) = chains.get_mut(chain) else { return fail("no such chain") };
        match verb {
            "-A" => rules.push(rule.to_owned()),
            "-I" => rules.insert(0, rule.to_owned()),
            "-D" => match rules.iter().position(|known| known == rule) {
                Some(place) => drop(rules.remove(place)),
                None => return fail("no such rule"),
            },
            _ => panic!("{line}"),
        }
        if verb != "-D" {
            written.push((number, rule.to_owned()));
        }
    }
    panic!("no COMMIT: {input}");
}

impl XTables for World {
    fn save(
        &self,
        family: Family,
        variant: Variant,
        table: Option<&'static str>,
    ) -> BoxFuture<'static, Result<String, XTablesError>> {
        let mut inner = self.lock();
        inner.programs += 1;
        let fault = Self::strikes(&mut inner);
        let mut text = String::new();
        for ((of, with, name), chains) in &inner.state.tables {
            if (*of, *with) != (family, variant) || table.is_some_and(|table| table != *name) {
                continue;
            }
            text += &format!("# a comment\n*{name}\n");
            for chain in chains.keys() {
                let policy = if is_built_in(name, chain) { "ACCEPT" } else { "-" };
                text += &format!(":{chain} {policy} [12:34]\n");
            }
            for (chain, rule) in
                chains.iter().flat_map(|(name, rules)| rules.iter().map(move |rule| (name, rule)))
            {
                text += &format!("-A {chain} {rule}\n");
            }
            text += "COMMIT\n";
        }
        let program = "iptables-save".to_owned();
        let result = match fault {
            None => Ok(text),
            Some(_) => Err(XTablesError::Uncertain { program, reason: "planned".to_owned() }),
        };
        ready(result).boxed()
    }

    fn restore(
        &self,
        family: Family,
        variant: Variant,
        input: String,
    ) -> BoxFuture<'static, Result<Restored, XTablesError>> {
        let mut inner = self.lock();
        inner.programs += 1;
        let fault = Self::strikes(&mut inner);
        let program = "iptables-restore".to_owned();
        let failed = |words: String, line| XTablesError::Failed { program: program.clone(), words, line };
        if fault == Some(Fault::Lost) {
            return ready(Err(failed("planned".to_owned(), None))).boxed();
        }
        let refuses = inner.refuses.clone();
        let by_kernel = inner.kernel_refuses.as_ref().is_some_and(|text| input.contains(text));
        let restored = match by_kernel {
            true => Err((input.lines().count(), "line failed".to_owned())),
            false => restored(&inner.state, family, variant, &input, refuses.as_deref()),
        };
        let result = match restored {
            Ok((key, chains)) => {
                inner.state.tables.insert(key, chains);
                Self::note(&mut inner);
                match fault {
                    None => Ok(Restored { port: 0 }),
                    Some(_) => Err(XTablesError::Uncertain { program, reason: "planned".to_owned() }),
                }
            }
            Err((line, words)) => Err(failed(words, Some(line))),
        };
        ready(result).boxed()
    }
}

fn no_such(what: &str) -> KernelError {
    KernelError::Refused { errno: 2, what: what.to_owned(), detail: None }
}

impl World {
    fn sets<T>(&self, change: impl FnOnce(&mut State) -> Result<T, KernelError>) -> Result<T, KernelError> {
        let mut inner = self.lock();
        let lost = || Err(KernelError::Socket("planned".to_owned()));
        let fault = Self::strikes(&mut inner);
        if fault == Some(Fault::Lost) {
            return lost();
        }
        let result = change(&mut inner.state);
        Self::note(&mut inner);
        if fault.is_some() { lost() } else { result }
    }
}

impl IpSets for World {
    fn list(&mut self) -> Result<Vec<SetHeader>, KernelError> {
        self.sets(|state| {
            let header = |(name, set): (&String, &Set)| SetHeader {
                name: name.clone(),
                kind: Some(set.kind),
                family: Some(set.family),
                max: set.max,
                references: 0,
            };
            Ok(state.sets.iter().map(header).collect())
        })
    }

    fn members(&mut self, name: &str) -> Result<Vec<Member>, KernelError> {
        self.sets(|state| match state.sets.get(name) {
            Some(set) => Ok(set.members.iter().copied().collect()),
            None => Err(no_such(name)),
        })
    }

    fn create(&mut self, name: &str, kind: SetKind, family: Family, max: u32) -> Result<(), KernelError> {
        self.sets(|state| {
            if state.sets.contains_key(name) {
                return Err(KernelError::Refused { errno: 17, what: name.to_owned(), detail: None });
            }
            state.sets.insert(name.to_owned(), Set { kind, family, max, members: BTreeSet::new() });
            Ok(())
        })
    }

    fn destroy(&mut self, name: &str) -> Result<(), KernelError> {
        self.sets(|state| {
            let used = state.tables.values().flat_map(BTreeMap::values).flatten();
            if used.into_iter().any(|rule| after(rule, "--match-set ").any(|set| set == name)) {
                return Err(KernelError::Refused { errno: 4100, what: name.to_owned(), detail: None });
            }
            state.sets.remove(name).map(drop).ok_or_else(|| no_such(name))
        })
    }

    fn swap(&mut self, one: &str, other: &str) -> Result<(), KernelError> {
        self.sets(|state| {
            let (Some(a), Some(b)) = (state.sets.get(one).cloned(), state.sets.get(other).cloned()) else {
                return Err(no_such(one));
            };
            state.sets.insert(one.to_owned(), b);
            state.sets.insert(other.to_owned(), a);
            Ok(())
        })
    }

    fn add(&mut self, set: &str, members: &[Member]) -> Result<Vec<RefusedMember>, KernelError> {
        self.sets(|state| {
            let found = state.sets.get_mut(set).ok_or_else(|| no_such(set))?;
            let mut refused = Vec::new();
            for (place, member) in members.iter().enumerate() {
                if found.members.len() >= found.max as usize && !found.members.contains(member) {
                    refused.push(RefusedMember { place, errno: 4352 });
                } else {
                    found.members.insert(*member);
                }
            }
            Ok(refused)
        })
    }

    fn remove(&mut self, set: &str, members: &[Member]) -> Result<Vec<RefusedMember>, KernelError> {
        self.sets(|state| {
            let found = state.sets.get_mut(set).ok_or_else(|| no_such(set))?;
            found.members.retain(|member| !members.contains(member));
            Ok(Vec::new())
        })
    }
}
