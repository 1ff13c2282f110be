//! Programs of iptables' names that come before the real ones in an agent's `PATH`: they note each call, and may fail as
//! reality seldom does when asked to.

use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where they and their notes are: in a sandbox's own `/run`.
const FOLDER: &str = "/run/between";

/// How calls go wrong. Counted are calls that the shell pattern is about, by their program's name.
#[derive(Debug, Clone, Copy)]
pub enum Faults {
    /// None does.
    None,
    /// Of ten calls one is answered by a program of another version, which does not know what it is asked, one finds the lock held,
    /// one is killed before it did anything, one behind it, and one is given a table that the kernel does not have.
    Some,
    /// Those of one family and table find that the kernel does not have it, while the file [`Between::MISSING`] is there.
    Missing,
}

/// See the module.
#[derive(Debug)]
pub struct Between(());

impl Between {
    /// While it is there, calls fail as [`Faults::Missing`] says.
    pub const MISSING: &str = "/run/between/missing";
    /// Words of iptables 1.8.9 where the kernel has not got a table.
    pub const WORDS: &str =
        "can't initialize iptables table `nat': Table does not exist (do you need to insmod?)";

    /// Makes them, in a sandbox.
    ///
    /// # Errors
    /// A program is not installed, or a file cannot be written.
    pub fn make(faults: Faults) -> Result<Self> {
        fs::create_dir_all(FOLDER)?;
        for family in ["iptables", "ip6tables"] {
            for variant in ["legacy", "nft"] {
                for verb in ["save", "restore"] {
                    let name = format!("{family}-{variant}-{verb}");
                    let real = ["/usr/sbin", "/sbin", "/usr/bin"].map(|folder| format!("{folder}/{name}"));
                    let real = real.iter().find(|path| Path::new(path).exists());
                    let real = real.context("iptables is missing: install package iptables")?;
                    let path = format!("{FOLDER}/{name}");
                    fs::write(&path, script(&name, real, faults))?;
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
                }
            }
        }
        Ok(Self(()))
    }

    /// The variable that puts them first.
    pub fn path(&self) -> (String, String) {
        ("PATH".to_owned(), format!("{FOLDER}:{}", std::env::var("PATH").unwrap_or_default()))
    }

    /// The programs called so far, in order.
    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(format!("{FOLDER}/calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn script(name: &str, real: &str, faults: Faults) -> String {
    let (words, missing) = (Between::WORDS, Between::MISSING);
    let fails = match faults {
        Faults::None => String::new(),
        Faults::Some => format!(
            "case $(wc -l <{FOLDER}/calls) in\n\
             *0) echo \"{name}: unrecognized option '--wait'\" >&2; exit 2;;\n\
             *2) echo 'Another app is currently holding the xtables lock; still -9s 0us time ahead' >&2; exit 4;;\n\
             *4) kill -9 $$;;\n\
             *6) {real} \"$@\"; kill -9 $$;;\n\
             *8) echo \"{name}: {words}\" >&2; exit 3;;\n\
             esac\n"
        )
        .replace('`', "\\`"),
        // what it is given is read once: the real one gets what was kept
        Faults::Missing => format!(
            "if [ -e {missing} ]; then\n\
             input=$(cat)\n\
             case \"{name} $* $input\" in\n\
             *restore*'*nat'*) echo \"{name}: {words}\" >&2; exit 3;;\n\
             *restore*) printf '%s\\n' \"$input\" | {real} \"$@\"; exit $?;;\n\
             esac\nfi\n"
        )
        .replace('`', "\\`"),
    };
    format!("#!/bin/sh\necho {name} >>{FOLDER}/calls\n{fails}exec {real} \"$@\"\n")
}
