//! The layers that are read: this machine's own files, and many small ones.

use std::path::{Path, PathBuf};

use crate::support::image::tar;
use crate::{Result, run};

/// How many small files there are, and the sizes that they have in turn.
const SMALL_FILES: usize = 50_000;
const SMALL_BYTES: [usize; 8] = [0, 37, 220, 512, 900, 1_800, 3_100, 6_000];

/// An archive of files of this machine, about this large.
pub(crate) fn own_files(folder: &Path, bytes: u64) -> Result<PathBuf> {
    let (mut list, mut sum) = (String::new(), 0);
    let mut folders = vec![PathBuf::from("/usr/lib"), PathBuf::from("/usr/bin")];
    while let Some(place) = folders.pop() {
        for entry in std::fs::read_dir(&place)?.flatten() {
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && sum < bytes {
                sum += entry.metadata()?.len();
                list += &format!("{}\n", entry.path().display());
            }
        }
    }
    let (names, archive) = (folder.join("names"), folder.join("layer.tar"));
    std::fs::write(&names, list)?;
    let tar =
        ["tar", "--absolute-names", "-b1", "-cf", &archive.display().to_string(), "-T", &names.display().to_string()];
    run(&tar)?;
    Ok(archive)
}

/// An archive of many small files, which together are what the beginning of `other` is.
pub(crate) fn small_files(folder: &Path, other: &Path) -> Result<PathBuf> {
    let content = std::fs::read(other)?;
    let mut at = 0;
    let files = (0..SMALL_FILES).map(|number| {
        let bytes = SMALL_BYTES[number % SMALL_BYTES.len()];
        let piece = content.iter().cycle().skip(at % content.len()).take(bytes).copied().collect();
        at += bytes;
        (format!("usr/share/package-{:03}/documents/file-{number}.text", number / 100), piece)
    });
    let archive = folder.join("small.tar");
    std::fs::write(&archive, tar(&files.collect::<Vec<_>>()))?;
    Ok(archive)
}

/// Bytes that do not compress.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(next).collect();
    bytes.truncate(len);
    bytes
}
