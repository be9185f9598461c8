//! What an image for Windows starts: other names, other places, no links and no scripts.

use super::find::{Place, Stop};
use super::{Image, Started, shown};
use crate::inspect::probe::Nature;
use crate::inspect::summary::Node;
use crate::model::evidence::Role;
use crate::model::text::clean;
use crate::model::{Evidence, Witness};

/// Where the system looks for programs before it looks in PATH.
const SYSTEM_FOLDERS: &[&str] = &["Windows/System32", "Windows"];
/// A program that every Windows has, as an image's own or as that of its virtual machine.
const SYSTEM_PROGRAMS: &[&str] =
    &["Files/Windows/System32/cmd.exe", "Files/Windows/System32/ntdll.dll", "UtilityVM/Files/Windows/System32/cmd.exe"];

impl<'a> Image<'a> {
    pub(super) fn windows(&mut self) -> Result<(), Stop> {
        let Some(word) = self.start.arguments.first() else {
            for program in SYSTEM_PROGRAMS {
                if let Some(place) = self.files.find(program)? {
                    let started = started(&place)?;
                    self.windows_witness(Role::Shell, &started);
                    return Ok(());
                }
            }
            return Ok(());
        };
        let missing = || Stop::Gap(format!("`{}`, which the image starts, is in none of its layers", clean(word, 200)));
        let place = match self.windows_command(word)? {
            Some(place) => place,
            // Docker's shell form is a whole command line in one word (`ArgsEscaped`).
            None => self.windows_command(first_of_line(word))?.ok_or_else(missing)?,
        };
        let started = started(&place)?;
        self.windows_witness(Role::EntryPoint, &started);
        Ok(())
    }

    fn windows_command(&self, word: &str) -> Result<Option<Place<'a>>, Stop> {
        let word = word.trim_matches('"').replace('\\', "/");
        let own_folder = without_drive(&self.start.folder.replace('\\', "/")).to_owned();
        let mut folders = vec![own_folder];
        if is_absolute(&word) {
            folders = vec![String::new()];
        } else if !word.contains('/') {
            folders.extend(SYSTEM_FOLDERS.iter().map(|folder| (*folder).to_owned()));
            folders.extend(self.start.path.iter().map(|folder| without_drive(&folder.replace('\\', "/")).to_owned()));
        }
        for folder in folders {
            let path = format!("Files/{folder}/{}", without_drive(&word));
            for path in [format!("{path}.exe"), path] {
                if let Some(place) = self.files.find(&path)?.filter(|place| matches!(place.node, Node::File(..))) {
                    return Ok(Some(place));
                }
            }
        }
        Ok(None)
    }

    fn windows_witness(&mut self, role: Role, started: &Started<'_>) {
        let (path, machine) = (shown(&started.path), started.program.machine.clone());
        self.evidence = Evidence { witnesses: vec![Witness { path, role, machine }], ..Evidence::default() };
    }
}

fn started<'a>(place: &Place<'a>) -> Result<Started<'a>, Stop> {
    let path = place.path.trim_start_matches("Files/").to_owned();
    match place.node {
        Node::File(_, Nature::Program(program)) => Ok(Started { path, program, is_reader: false, env: None }),
        Node::File(_, Nature::Odd(what)) => {
            Err(Stop::Gap(format!("`{}`, which the image starts, is {what}", shown(&path))))
        }
        Node::File(_, Nature::Unread) => Err(Stop::Needs { layer: place.layer, names: vec![place.name.clone()] }),
        _ => Err(Stop::Gap(format!("`{}`, which the image starts, is no program", shown(&path)))),
    }
}

/// What stands before the first blank outside quotes.
fn first_of_line(line: &str) -> &str {
    let line = line.trim_start();
    let mut is_quoted = false;
    let end = line.find(|c: char| {
        is_quoted ^= c == '"';
        c.is_ascii_whitespace() && !is_quoted
    });
    &line[..end.unwrap_or(line.len())]
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || path.as_bytes().get(1) == Some(&b':')
}

fn without_drive(path: &str) -> &str {
    match path.as_bytes() {
        [letter, b':', ..] if letter.is_ascii_alphabetic() => &path[2..],
        _ => path,
    }
}
