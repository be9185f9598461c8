//! The program that runs when a word is started: found in PATH, and through scripts to what reads them.

use super::find::{Place, Stop};
use super::{Image, PARTS, shown};
use crate::inspect::probe::{Nature, Program};
use crate::inspect::start::{MOST_FOLDERS, env_word, interpreter};
use crate::inspect::summary::Node;
use crate::model::text::clean;

/// How many scripts may start each other before a program, as in Linux.
const MOST_SCRIPTS: usize = 4;

/// A program that was found, with its place.
pub(super) struct Started<'a> {
    pub(super) path: String,
    pub(super) program: &'a Program,
    /// Whether it reads a script that was asked for.
    pub(super) is_reader: bool,
    /// The `env` that a script asks for it.
    pub(super) env: Option<&'a str>,
}

impl<'a> Image<'a> {
    /// Whether there is something under `word` that runs by itself. What is not there may come from
    /// a volume, and text that says by no `#!` what reads it is read by the shell that starts it.
    pub(super) fn has_program(&self, word: &str) -> Result<bool, Stop> {
        match self.command(word) {
            Ok(Some(place)) => match place.node {
                Node::File(_, Nature::Unread) => Err(Stop::Needs { layer: place.layer, names: vec![place.name] }),
                Node::File(_, nature) => Ok(*nature != Nature::Data),
                _ => Ok(true),
            },
            Ok(None) => Ok(false),
            // Why it cannot be told is for the one to say who looks closer.
            Err(Stop::Gap(_)) => Ok(true),
            Err(needs) => Err(needs),
        }
    }

    /// The program that runs when `word` is started, through scripts to what reads them.
    pub(super) fn started(&self, word: &str) -> Result<Started<'a>, Stop> {
        let gap =
            |word: &str, why: &str, what: &str| Stop::Gap(format!("`{}`, which {why}, is {what}", clean(word, 200)));
        let mut why = "the image starts".to_owned();
        let mut env = None;
        let missing = |word: &str, why: &str| gap(word, why, "in none of its layers");
        let mut place = self.command(word)?.ok_or_else(|| missing(word, &why))?;
        for scripts in 0..=MOST_SCRIPTS {
            let path = shown(&place.path);
            let nature = match place.node {
                Node::File(_, nature) => nature,
                Node::Special => return Err(gap(&path, &why, PARTS)),
                _ => &Nature::Data,
            };
            match nature {
                Nature::Program(program) => {
                    return Ok(Started { path: place.path, program, is_reader: scripts > 0, env });
                }
                Nature::Script(line) => {
                    let (reader, argument) = interpreter(line);
                    let is_env = reader.rsplit('/').next() == Some("env");
                    let asked = argument.filter(|_| is_env).and_then(env_word);
                    env = env.or(asked.and(Some(reader)));
                    let next = asked.unwrap_or(reader);
                    if next.is_empty() {
                        return Err(gap(&path, &why, "a script that does not say by what"));
                    }
                    why = format!("reads the script `{path}`");
                    place = self.command(next)?.ok_or_else(|| missing(next, &why))?;
                }
                Nature::Odd(what) => return Err(gap(&path, &why, what)),
                Nature::Data => return Err(gap(&path, &why, "neither a program nor a script")),
                Nature::Unread => return Err(Stop::Needs { layer: place.layer, names: vec![place.name] }),
            }
        }
        Err(gap(word, "the image starts", "a script of scripts without end"))
    }

    /// Finds a command as `execve` and a search in PATH do.
    pub(super) fn command(&self, word: &str) -> Result<Option<Place<'a>>, Stop> {
        let is_file = |place: &Place<'_>| !matches!(place.node, Node::Directory);
        if word.contains('/') {
            return Ok(self.files.find(&self.absolute(word))?.filter(is_file));
        }
        for (number, folder) in self.start.path.iter().enumerate() {
            if number == MOST_FOLDERS {
                let first = format!("is not in the first {MOST_FOLDERS} folders of its PATH");
                return Err(Stop::Gap(format!("`{}`, which the image starts, {first}", clean(word, 200))));
            }
            let folder = if folder.is_empty() { "." } else { folder };
            let found = self.files.find(&format!("{}/{word}", self.absolute(folder)))?;
            if let Some(place) = found.filter(|place| matches!(place.node, Node::File(true, _) | Node::Special)) {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    pub(super) fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.start.folder) }
    }
}
