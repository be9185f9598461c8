//! The file system that an image's layers make together, as far as what it starts is concerned.
//!
//! image-spec 1.1, "Image Layer Filesystem Changeset". Nothing is put together: a name is looked
//! for from the top layer down, links are followed as Linux does, and where a layer that nobody
//! read yet could say something else, it is asked for.

mod behind;
mod find;
mod started;
mod windows;

use std::collections::BTreeMap;

use behind::{behind, is_emulator};
use find::{Files, Stop};
use started::Started;

use super::probe::{Nature, Program};
use super::start::Start;
use super::summary::{Node, Summary};
use crate::model::evidence::Role;
use crate::model::text::clean;
use crate::model::{Evidence, Witness};

/// How many programs may be there only to start the next one.
const MOST_STARTERS: usize = 4;
/// What is neither read nor passed over: it may be a program.
const PARTS: &str = "a device, or a file of which only parts are stored";
/// Where a shell is, if an image has one.
const SHELLS: &[&str] =
    &["/bin/sh", "/bin/busybox", "/busybox/sh", "/bin/bash", "/usr/bin/sh", "/usr/bin/busybox", "/usr/bin/bash"];

/// What the layers that were read by now say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All that is to be known.
    Known(Evidence),
    /// A layer has to be read (further), counted from the top.
    Needs {
        /// Which.
        layer: usize,
        /// The names that are looked for in it.
        names: Vec<String>,
        /// What the others proved by now.
        seen: Evidence,
    },
}

/// Finds out what the image's files prove, from `layers`, the top one first; `None` where a layer
/// was not read yet.
pub fn examine(start: &Start, layers: &[Option<&Summary>]) -> Answer {
    let mut image = Image { start, files: Files::new(layers, start.is_windows), evidence: Evidence::default() };
    match if start.is_windows { image.windows() } else { image.linux() } {
        Ok(()) => Answer::Known(image.evidence),
        Err(Stop::Needs { layer, names }) => Answer::Needs { layer, names, seen: image.evidence },
        Err(Stop::Gap(gap)) => Answer::Known(Evidence { gap: Some(gap), ..image.evidence }),
    }
}

struct Image<'a> {
    start: &'a Start,
    files: Files<'a>,
    evidence: Evidence,
}

impl<'a> Image<'a> {
    fn linux(&mut self) -> Result<(), Stop> {
        let (starters, words) = self.past_starters(&self.start.arguments)?;
        let Some(word) = words.first() else { return self.without_entry_point() };
        let decided = match self.entry_point(word) {
            Err(needs @ Stop::Needs { .. }) => return Err(needs),
            decided => decided,
        };
        // What cannot be read of the one takes nothing back of what the others say.
        for starter in starters.into_iter().rev() {
            self.starter(starter)?;
        }
        if decided? {
            self.command_of_script(&words)?;
        }
        Ok(())
    }

    /// The programs that are only there to start the next one, and what the last of them starts.
    fn past_starters(&self, words: &'a [String]) -> Result<(Vec<&'a str>, Vec<&'a str>), Stop> {
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut starters = Vec::new();
        while let Some(next) = behind(&words).filter(|_| starters.len() < MOST_STARTERS) {
            if !self.has_program(next[0])? {
                break;
            }
            starters.push(words[0]);
            words = next;
        }
        Ok((starters, words))
    }

    /// Returns whether it is a script.
    fn entry_point(&mut self, word: &str) -> Result<bool, Stop> {
        let started = self.started(word)?;
        self.testify(Role::EntryPoint, &started)?;
        if let Some(env) = started.env {
            self.starter(env)?;
        }
        Ok(started.is_reader)
    }

    /// The program that the command gives to a script: many end in `exec "$@"`. It need not be one,
    /// so that only another machine's says anything.
    fn command_of_script(&mut self, words: &[&str]) -> Result<(), Stop> {
        let command = self.start.arguments.get(self.start.entry_words..).unwrap_or_default();
        let is_given = words.get(1..).is_some_and(|given| given == command);
        if !is_given || command.first().is_none_or(|word| word.starts_with('-')) {
            return Ok(());
        }
        let (starters, words) = self.past_starters(command)?;
        let lacks = self.evidence.lacks.clone();
        for word in words.first().into_iter().chain(starters.iter().rev()) {
            match self.started(word).and_then(|started| self.testify(Role::Command, &started)) {
                Ok(()) | Err(Stop::Gap(_)) => {}
                Err(needs) => return Err(needs),
            }
        }
        self.evidence.lacks = lacks;
        Ok(())
    }

    /// Takes a program as a witness, and the loader that it needs.
    fn testify(&mut self, role: Role, started: &Started<'_>) -> Result<(), Stop> {
        self.witness(&started.path, role, started.program);
        if let Some(flaw) = &started.program.flaw {
            return Err(Stop::Gap(format!("`{}`, which the image starts, is {flaw}", shown(&started.path))));
        }
        let Some(loader) = &started.program.loader else {
            return Ok(());
        };
        let found = self.files.find(&self.absolute(loader))?;
        match found.as_ref().map(|place| place.node) {
            Some(Node::File(_, Nature::Program(program))) => {
                self.witness(&found.map(|place| place.path).unwrap_or_default(), Role::Loader, program);
            }
            Some(Node::File(_, Nature::Unread)) => {
                let place = found.expect("it was just matched");
                return Err(Stop::Needs { layer: place.layer, names: vec![place.name] });
            }
            Some(Node::Special) => {
                let (program, loader) = (shown(&started.path), clean(loader, 200));
                return Err(Stop::Gap(format!("`{loader}`, which loads {program}, is {PARTS}")));
            }
            _ => {
                let (program, loader) = (shown(&started.path), clean(loader, 200));
                self.evidence.lacks =
                    Some(format!("{program} needs {loader} to start, and the image does not have it"));
            }
        }
        Ok(())
    }

    /// Takes a program as a witness, once.
    fn witness(&mut self, path: &str, role: Role, program: &Program) {
        let path = shown(path);
        if self.evidence.witnesses.iter().all(|known| known.path != path) {
            self.evidence.witnesses.push(Witness { path, role, machine: program.machine.clone() });
        }
    }

    /// What starts the entry point, and is needed for that.
    fn starter(&mut self, word: &str) -> Result<(), Stop> {
        let lacks = self.evidence.lacks.take();
        if self.command(word)?.is_some() {
            let started = self.started(word)?;
            self.testify(Role::Shell, &started)?;
        } else {
            let word = clean(word, 200);
            self.evidence.lacks = Some(format!("it is started by {word}, and the image does not have that"));
        }
        self.evidence.lacks = lacks.or(self.evidence.lacks.take());
        Ok(())
    }

    /// An image that starts nothing by itself is weighed by its shell, or by all its programs.
    fn without_entry_point(&mut self) -> Result<(), Stop> {
        for shell in SHELLS {
            match self.started(shell) {
                Ok(started) => return self.testify(Role::Shell, &started),
                Err(Stop::Gap(_)) => {}
                Err(needs) => return Err(needs),
            }
        }
        let is_emulator = |path: &String| is_emulator(path);
        let all = self.files.programs()?;
        let (emulators, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(path, _)| is_emulator(path));
        let mut by_machine: BTreeMap<Option<&str>, Vec<Started<'_>>> = BTreeMap::new();
        for (path, program) in if others.is_empty() { emulators } else { others } {
            by_machine.entry(program.machine.architecture.as_deref()).or_default().push(Started {
                path,
                program,
                is_reader: false,
                env: None,
            });
        }
        let mut machines = by_machine.into_values().filter_map(|programs| programs.into_iter().next());
        match (machines.next(), machines.next()) {
            (None, _) => Ok(()),
            (Some(only), None) => self.testify(Role::Program, &only),
            (Some(one), Some(other)) => Err(Stop::Gap(format!(
                "the image starts nothing by itself and has programs for several machines: {} is {}, {} is {}",
                shown(&one.path),
                one.program.machine.shown,
                shown(&other.path),
                other.program.machine.shown
            ))),
        }
    }
}

/// A path for people.
fn shown(path: &str) -> String {
    clean(&format!("/{}", path.trim_start_matches('/')), 200)
}

#[cfg(test)]
mod tests;
