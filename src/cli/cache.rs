//! The user's cache folder: facts about digests that outlive a run of the command line.
//!
//! Each repository has one file, to which every run appends what it learned: a line with kind,
//! digest and length, then the fact. Any number of processes may append at once, since each
//! appends whole records with one write. Nothing in a file is trusted: a record that does not read
//! as one is skipped, and [`Facts`] checks what a record holds. A folder that cannot be used costs
//! a warning and no more.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};

use crate::look::{Facts, Keeper};
use crate::model::{Digest, Repository};

/// The largest file: one that has grown beyond is begun anew.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;
/// The most bytes of all files together: beyond, the oldest go.
const LARGEST_FOLDER: u64 = 256 * 1024 * 1024;
/// How many bytes are gathered before they are appended.
const BATCH_BYTES: usize = 64 * 1024;
/// Each record begins with this byte, which no line of a record and no JSON holds.
const MARK: u8 = 0x1e;
/// The longest line of a record.
const LONGEST_LINE: u64 = 200;

/// What is known about the digests of `repository`, from the user's cache folder and for it.
pub(super) fn facts(repository: &Repository, is_wanted: bool) -> Facts {
    match folder(|name| std::env::var_os(name)).filter(|_| is_wanted) {
        Some(folder) => Facts::kept_by(Arc::new(Cache::at(folder, repository))),
        None => Facts::default(),
    }
}

/// Where the cache is: `ONETAG_CACHE_DIR`, or where the user's other programs have theirs.
fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The XDG specification has relative paths ignored.
    let absolute = |name| set(name).filter(|path| path.is_absolute());
    set("ONETAG_CACHE_DIR")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|path| path.join("onetag")))
        .or_else(|| absolute("HOME").map(|path| path.join(".cache/onetag")))
}

/// The cache of one repository; its file is opened when it is first needed.
#[derive(Debug)]
struct Cache {
    folder: PathBuf,
    name: String,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Closed,
    Open(Open),
    /// It could not be opened or written; that was told.
    Unusable,
}

/// A file that is read and appended to.
#[derive(Debug)]
struct Open {
    file: File,
    /// Where the newest record about each kind and digest is.
    places: HashMap<String, Place>,
    /// Records that are not in the file yet, with where each begins.
    batch: Vec<u8>,
    batched: Vec<(String, Place)>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    length: usize,
}

impl Cache {
    fn at(folder: PathBuf, repository: &Repository) -> Cache {
        let name = Digest::of(repository.to_string().as_bytes());
        let name = name.as_str().trim_start_matches("sha256:").chars().take(32).collect();
        Cache { folder: folder.join("facts-1"), name, state: Mutex::new(State::Closed) }
    }

    /// Does something with the file, if it can be had.
    fn with<T>(&self, act: impl FnOnce(&mut Open) -> io::Result<T>) -> Option<T> {
        let mut state = self.state.lock().expect("no panic happens while it is held");
        if matches!(*state, State::Closed) {
            *state = Open::at(&self.folder, &self.name).map_or_else(|error| self.unusable(&error), State::Open);
        }
        let State::Open(open) = &mut *state else {
            return None;
        };
        match act(open) {
            Ok(result) => Some(result),
            Err(error) => {
                *state = self.unusable(&error);
                None
            }
        }
    }

    fn unusable(&self, error: &io::Error) -> State {
        tracing::warn!("The cache in {} cannot be used: {error}; going on without it", self.folder.display());
        State::Unusable
    }
}

impl Keeper for Cache {
    fn recall<'a>(&'a self, kind: &'static str, digest: &'a Digest) -> BoxFuture<'a, Option<Bytes>> {
        let kept = self.with(|open| open.recall(&key(kind, digest)));
        Box::pin(ready(kept.flatten()))
    }

    fn learn(&self, kind: &'static str, digest: &Digest, kept: Vec<u8>) {
        self.with(|open| open.learn(key(kind, digest), &kept));
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let is_open = matches!(*self.state.lock().expect("no panic happens while it is held"), State::Open(_));
        if is_open {
            self.with(Open::append);
        }
    }
}

fn key(kind: &str, digest: &Digest) -> String {
    format!("{kind} {digest}")
}

impl Open {
    fn at(folder: &Path, name: &str) -> io::Result<Open> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        if std::fs::metadata(folder)?.mode() & 0o022 != 0 {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may write into it"));
        }
        tidy(folder, name);
        let path = folder.join(name);
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let places = read_places(&file)?;
        Ok(Open { file, places, batch: Vec::new(), batched: Vec::new() })
    }

    fn recall(&mut self, key: &str) -> io::Result<Option<Bytes>> {
        let Some(place) = self.places.get(key) else {
            return Ok(None);
        };
        let mut fact = vec![0; place.length];
        // Shorter than it was: it is not there any more.
        Ok(self.file.read_exact_at(&mut fact, place.offset).is_ok().then(|| Bytes::from(fact)))
    }

    fn learn(&mut self, key: String, fact: &[u8]) -> io::Result<()> {
        self.batch.push(MARK);
        self.batch.extend(format!("{key} {}\n", fact.len()).bytes());
        let place = Place { offset: self.batch.len() as u64, length: fact.len() };
        self.batch.extend(fact);
        self.batch.push(b'\n');
        self.batched.push((key, place));
        if self.batch.len() >= BATCH_BYTES { self.append() } else { Ok(()) }
    }

    /// Appends what was gathered, with one write, so that records of other processes stay whole.
    fn append(&mut self) -> io::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let written = self.file.write(&batch)?;
        if written < batch.len() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "not everything could be written"));
        }
        let begin = self.file.stream_position()? - written as u64;
        let placed = |(key, place): (String, Place)| (key, Place { offset: begin + place.offset, ..place });
        self.places.extend(self.batched.drain(..).map(placed));
        Ok(())
    }
}

/// Deletes what has grown too large. Whoever has such a file open goes on with it, and loses what
/// it learns.
fn tidy(folder: &Path, own: &str) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| {
        let about = entry.metadata().ok().filter(|about| about.is_file())?;
        Some((about.modified().ok()?, about.len(), entry.path()))
    });
    let mut files: Vec<_> = files.collect();
    files.sort();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        let is_own = path.file_name().is_some_and(|name| name == own);
        if bytes > LARGEST_FILE || total > LARGEST_FOLDER && !is_own {
            let _ = std::fs::remove_file(path);
            total -= bytes;
        }
    }
}

/// Where the newest record about each kind and digest is. What does not read as a record is passed
/// over up to the next mark.
fn read_places(file: &File) -> io::Result<HashMap<String, Place>> {
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let mut places = HashMap::new();
    let mut begin = reader.seek(SeekFrom::Start(0))?;
    while begin < length {
        let skipped = skip_to_mark(&mut reader)?;
        begin += skipped;
        match read_record(&mut reader, begin)? {
            Some((key, place, end)) if end <= length => {
                places.insert(key, place);
                begin = end;
            }
            // The mark was another's, or what follows is damaged: the next one may be right.
            _ => {
                let ahead = reader.stream_position()? as i64 - begin as i64;
                reader.seek_relative(-ahead)?;
            }
        }
    }
    Ok(places)
}

/// Reads up to the next mark and over it; returns how many bytes that were.
fn skip_to_mark(reader: &mut BufReader<&File>) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(skipped.max(1));
        }
        let found = buffer.iter().position(|byte| *byte == MARK);
        let length = found.map_or(buffer.len(), |at| at + 1);
        reader.consume(length);
        skipped += length as u64;
        if found.is_some() {
            return Ok(skipped);
        }
    }
}

/// Reads the record whose line begins at `begin`: what it is about, where the fact is, and where
/// the record ends.
fn read_record(reader: &mut BufReader<&File>, begin: u64) -> io::Result<Option<(String, Place, u64)>> {
    let mut line = Vec::new();
    let read = reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    let Some((key, length)) = std::str::from_utf8(&line).ok().and_then(|line| read_line(line.strip_suffix('\n')?))
    else {
        return Ok(None);
    };
    let offset = begin + read as u64;
    reader.seek_relative(i64::from(length))?;
    let mut end = [0];
    let is_whole = reader.read(&mut end)? == 1 && end == *b"\n";
    let place = Place { offset, length: length as usize };
    Ok(is_whole.then(|| (key, place, offset + u64::from(length) + 1)))
}

/// `manifest-1 sha256:… 512`
fn read_line(line: &str) -> Option<(String, u32)> {
    let (key, length) = line.rsplit_once(' ')?;
    let (kind, digest) = key.split_once(' ')?;
    let _checked: Digest = digest.parse().ok()?;
    // Another mark in it is where a record begins that follows the rest of a damaged one.
    kind.bytes().all(|byte| byte.is_ascii_graphic()).then_some(())?;
    Some((key.to_owned(), length.parse().ok()?))
}

#[cfg(test)]
mod tests;
