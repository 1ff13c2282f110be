//! The manners of pflag and cobra on top of clap: what they accept, and the words in which they refuse.
//! Source: `calicoctl.md` §1 of the contract and the recordings under `errors/command`.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Command};
use std::ffi::OsString;

/// Distance up to which cobra proposes another command.
const SUGGESTION_DISTANCE: usize = 2;

/// Makes a tree accept what pflag accepts: a flag given twice (the last counts), values that begin with a dash.
pub fn pflag_manners(command: Command) -> Command {
    command
        .mut_args(|arg| {
            let own = arg.get_id().clone();
            match arg.get_action() {
                _ if arg.is_positional() => arg,
                ArgAction::Set => arg.allow_hyphen_values(true).overrides_with(own),
                ArgAction::SetTrue => arg.overrides_with(own),
                _ => arg.allow_hyphen_values(true),
            }
        })
        .mut_subcommands(pflag_manners)
}

/// Puts `--flag=true` and `--flag=false` of switches into the form clap knows: with the switch, or without it.
///
/// # Errors
/// A value that is no boolean.
pub fn plain_switches(root: &Command, args: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let mut switches = Vec::new();
    collect_switches(root, &mut switches);
    let mut plain: Vec<OsString> = Vec::with_capacity(args.len());
    let mut args = args.into_iter();
    for arg in args.by_ref() {
        if arg == "--" {
            plain.push(arg);
            break;
        }
        let switch =
            arg.to_str().and_then(|text| text.strip_prefix("--")).and_then(|text| text.split_once('='));
        let known = |name: &str| {
            let long =
                |forms: &&Vec<String>| forms.first().and_then(|form| form.strip_prefix("--")) == Some(name);
            switches.iter().find(long)
        };
        let Some((forms, value)) = switch.and_then(|(name, value)| Some((known(name)?, value))) else {
            plain.push(arg);
            continue;
        };
        match pflag_bool(value) {
            Ok(true) => plain.extend(forms.first().map(OsString::from)),
            Ok(false) => plain.retain(|earlier| !forms.iter().any(|form| *earlier == **form)),
            Err(reason) => {
                let flag = forms.first().map(String::as_str).unwrap_or_default();
                return Err(format!("invalid argument {value:?} for {flag:?} flag: {reason}"));
            }
        }
    }
    plain.extend(args);
    Ok(plain)
}

/// The forms of every switch, the long one first.
fn collect_switches(command: &Command, switches: &mut Vec<Vec<String>>) {
    for arg in command.get_arguments().filter(|arg| matches!(arg.get_action(), ArgAction::SetTrue)) {
        let Some(long) = arg.get_long() else { continue };
        let shorts = arg.get_short().into_iter().chain(arg.get_all_short_aliases().into_iter().flatten());
        switches.push(
            std::iter::once(format!("--{long}")).chain(shorts.map(|short| format!("-{short}"))).collect(),
        );
    }
    command.get_subcommands().for_each(|command| collect_switches(command, switches));
}

/// A boolean as Go's strconv reads it.
pub fn pflag_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("parsing boolean: invalid syntax".to_owned()),
    }
}

/// What cobra says to a command line clap refused. `args` is the command line without the program's name.
pub fn refusal(error: &clap::Error, root: &Command, args: &[String]) -> String {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => unknown_command(root, word(ContextKind::InvalidSubcommand)),
        ErrorKind::UnknownArgument => match word(ContextKind::InvalidArg) {
            long if long.starts_with("--") => {
                format!("unknown flag: {}", long.split('=').next().unwrap_or(long))
            }
            short if short.starts_with('-') => {
                let letter = short.trim_start_matches('-');
                let typed = args.iter().find(|arg| arg.starts_with('-') && arg.contains(letter));
                format!("unknown shorthand flag: '{letter}' in {}", typed.map_or(short, String::as_str))
            }
            argument => format!("unexpected argument {argument:?}"),
        },
        ErrorKind::InvalidValue if word(ContextKind::InvalidValue).is_empty() => needs_argument(args),
        ErrorKind::MissingRequiredArgument => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(missing)) => format!("missing argument: {}", missing.join(" ")),
            _ => "missing argument".to_owned(),
        },
        _ => error.to_string().trim_end().to_owned(),
    }
}

/// A flag at the end of the line without its value.
fn needs_argument(args: &[String]) -> String {
    match args.last().map(String::as_str) {
        Some(long) if long.starts_with("--") => format!("flag needs an argument: {long}"),
        Some(short) => {
            format!("flag needs an argument: '{}' in {short}", short.chars().last().unwrap_or_default())
        }
        None => "flag needs an argument".to_owned(),
    }
}

/// What is said about an unknown command, with those of nearly the same name.
pub fn unknown_command(root: &Command, word: &str) -> String {
    let name = root.get_bin_name().unwrap_or_else(|| root.get_name());
    let mut text = format!("unknown command {word:?} for {name:?}");
    let near: Vec<&str> = root
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(Command::get_name)
        .filter(|name| is_near(name, word))
        .collect();
    if !near.is_empty() {
        text.push_str("\n\nDid you mean this?\n");
        let mut near = near;
        near.sort_unstable();
        for name in near {
            text.push('\t');
            text.push_str(name);
            text.push('\n');
        }
    }
    text
}

/// Whether cobra would propose `name` to who typed `word`.
fn is_near(name: &str, word: &str) -> bool {
    let (name, word) = (name.to_lowercase(), word.to_lowercase());
    edit_distance(&name, &word) <= SUGGESTION_DISTANCE || name.starts_with(&word)
}

/// Insertions, deletions and replacements from one word to the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut next = vec![i + 1];
        let mut left = i + 1;
        for ((b, above_left), above) in to.iter().zip(&row).zip(row.iter().skip(1)) {
            left = (above_left + usize::from(a != *b)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    #[test]
    fn distances() {
        for (a, b, d) in
            [("", "", 0), ("a", "", 1), ("patch", "fetch", 2), ("get", "gte", 2), ("kitten", "sitting", 3)]
        {
            assert_eq!(edit_distance(a, b), d, "{a} {b}");
            assert_eq!(edit_distance(b, a), d, "{b} {a}");
        }
    }

    #[test]
    fn near_names() {
        assert!(is_near("patch", "fetch") && is_near("label", "LAB") && is_near("get", "gte"));
        assert!(!is_near("patch", "convert") && !is_near("ipam", "datastore"));
    }

    #[test]
    fn booleans_as_go_reads_them() {
        assert_eq!(pflag_bool("T"), Ok(true));
        assert_eq!(pflag_bool("0"), Ok(false));
        assert!(pflag_bool("yes").is_err());
    }

    fn plain(words: &[&str]) -> Result<Vec<OsString>, String> {
        let switch =
            |long: &'static str, short| Arg::new(long).long(long).short(short).action(ArgAction::SetTrue);
        let sub = Command::new("sub").arg(switch("inner", 'i'));
        let root =
            Command::new("root").arg(switch("outer", 'o')).arg(Arg::new("text").long("text")).subcommand(sub);
        plain_switches(&root, words.iter().map(OsString::from).collect())
    }

    #[test]
    fn switches_with_values_become_plain() {
        let same = |words: &[&str]| Ok(words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(plain(&["p", "--outer=true", "--text=false"]), same(&["p", "--outer", "--text=false"]));
        assert_eq!(plain(&["p", "--outer", "-o", "--outer=0", "-i"]), same(&["p", "-i"]));
        assert_eq!(plain(&["p", "--inner=f", "--inner=1"]), same(&["p", "--inner"]));
        assert_eq!(plain(&["p", "--", "--outer=false"]), same(&["p", "--", "--outer=false"]));
        assert_eq!(
            plain(&["p", "--outer=maybe"]),
            Err("invalid argument \"maybe\" for \"--outer\" flag: parsing boolean: invalid syntax".to_owned())
        );
    }
}
