//! The database file itself: where it is, whose it is, and what its errors mean.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::StoreError;

/// Kinds of file systems that are on another machine. Their locks and syncs are promises of
/// somebody else, and a write-ahead log needs memory shared by all who use it.
const NETWORK: &[&str] = &[
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "afs",
    "ceph",
    "lustre",
    "gpfs",
    "beegfs",
    "glusterfs",
    "fuse.glusterfs",
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.rclone",
];

/// A file that this process alone uses.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    pub(super) path: PathBuf,
    device: u64,
    inode: u64,
}

/// What keeps others from the file; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    /// Closing would not do: a process that is just being started has a copy of the handle.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl DatabaseFile {
    /// Takes the file for this process, and makes it where there is none, for this user's eyes
    /// only.
    pub(super) async fn take(address: &str) -> Result<(DatabaseFile, Lock), StoreError> {
        let path = path_of(address)?;
        tokio::task::spawn_blocking(move || take(path)).await.expect("taking a file does not panic")
    }

    /// The file as messages have it.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Writing to a file that nobody can find any more would keep nothing.
    pub(super) fn is_still_there(&self) -> Result<(), StoreError> {
        let is_same = |found: std::fs::Metadata| found.dev() == self.device && found.ino() == self.inode;
        match std::fs::metadata(&self.path).is_ok_and(is_same) {
            true => Ok(()),
            false => Err(StoreError::Moved { path: self.path.clone() }),
        }
    }

    /// What an error of the database engine means, by its primary result code
    /// (<https://www.sqlite.org/rescode.html>).
    pub(super) fn failure(&self, request: &'static str, error: sqlx::Error) -> StoreError {
        let (path, database) = (self.path.clone(), self.name());
        let code = match &error {
            sqlx::Error::Database(database) => database.code().and_then(|code| code.parse::<i64>().ok()),
            _ => None,
        };
        match (code.map(|code| code & 0xff), &error) {
            (Some(5 | 6), _) => StoreError::Locked { path },
            (Some(8), _) => StoreError::ReadOnly { database },
            (Some(11 | 26), _) => StoreError::Corrupt { database, detail: error.to_string() },
            (Some(13), _) => StoreError::Full { database },
            (_, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => {
                StoreError::Corrupt { database, detail: error.to_string() }
            }
            (_, sqlx::Error::PoolClosed) => StoreError::Closed,
            (_, sqlx::Error::PoolTimedOut) => StoreError::Slow,
            _ => StoreError::Other { request, source: Arc::new(error) },
        }
    }
}

/// The path in `sqlite://path`; a path of its own says whether it is absolute.
fn path_of(address: &str) -> Result<PathBuf, StoreError> {
    let path = address.strip_prefix("sqlite://").filter(|path| !path.is_empty() && !path.contains(['?', '\0']));
    path.map(PathBuf::from).ok_or_else(|| {
        let scheme = address.split(':').next().unwrap_or_default();
        StoreError::Address { scheme: crate::model::text::clean(scheme, 40) }
    })
}

fn take(path: PathBuf) -> Result<(DatabaseFile, Lock), StoreError> {
    let path = one_name(&path).map_err(|error| unusable(&path, error))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    refuse_network(&path, folder)?;
    let lock_path = PathBuf::from(format!("{}.lock", path.display()));
    let lock = open(&lock_path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path }),
        Err(TryLockError::Error(error)) => return Err(unusable(&lock_path, error)),
    }
    let lock = Lock(lock);
    let made = open(&path)?;
    let found = made.metadata().map_err(|error| unusable(&path, error))?;
    // The names of both files, before anything is acknowledged.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| unusable(folder, error))?;
    Ok((DatabaseFile { path, device: found.dev(), inode: found.ino() }, lock))
}

/// The one name that a file has, whatever links lead to it, so that there is one lock. The file is
/// not opened for it: closing it would end the locks of a store that this process has there.
fn one_name(path: &Path) -> io::Result<PathBuf> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    path.canonicalize().or_else(|_| Ok(folder.canonicalize()?.join(name)))
}

fn open(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(|error| unusable(path, error))
}

fn unusable(path: &Path, error: io::Error) -> StoreError {
    let database = path.display().to_string();
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { database },
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { database },
        _ => StoreError::Other { request: "open the database file", source: Arc::new(error) },
    }
}

/// Where the kernel does not tell (no `/proc`), the file system is taken to be a local one.
fn refuse_network(path: &Path, folder: &Path) -> Result<(), StoreError> {
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return Ok(()) };
    match file_system(&mounts, folder).filter(|kind| NETWORK.contains(kind)) {
        Some(kind) => Err(StoreError::Network { path: path.to_owned(), kind: kind.to_owned() }),
        None => Ok(()),
    }
}

/// The kind of file system that `folder` is on: that of the deepest mount above it, and of several
/// mounts over each other the last (proc(5), "mountinfo").
fn file_system<'m>(mounts: &'m str, folder: &Path) -> Option<&'m str> {
    let mount = |line: &'m str| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?.replace("\\040", " ");
        let kind = right.split(' ').next()?;
        folder.starts_with(&point).then_some((point.len(), kind))
    };
    mounts.lines().filter_map(mount).max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_and_a_path() {
        assert_eq!(path_of("sqlite://onetag.db").ok(), Some(PathBuf::from("onetag.db")));
        assert_eq!(path_of("sqlite:///var/lib/one tag.db").ok(), Some(PathBuf::from("/var/lib/one tag.db")));
        for address in ["", "onetag.db", "sqlite:onetag.db", "sqlite://", "sqlite://a?mode=ro"] {
            assert!(path_of(address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_refused_address_is_not_repeated_since_it_may_hold_a_password() {
        let error = path_of("mysql://onetag:secret@db/onetag").expect_err("no path").to_string();
        insta::assert_snapshot!(error, @"`mysql` is not a database address: expected `sqlite://` and the path of a file, or `postgres://`, a server and a database");
    }

    #[test]
    fn the_deepest_mount_says_what_file_system_a_folder_is_on() {
        let mounts = "22 27 0:21 / / rw,relatime - ext4 /dev/vda rw\n\
                      23 22 0:22 / /data rw,relatime shared:1 - nfs4 server:/data rw\n\
                      24 23 0:23 / /data/my\\040disk rw - xfs /dev/vdb rw\n";
        assert_eq!(file_system(mounts, Path::new("/var/lib")), Some("ext4"));
        assert_eq!(file_system(mounts, Path::new("/data/onetag")), Some("nfs4"));
        assert_eq!(file_system(mounts, Path::new("/database")), Some("ext4"));
        assert_eq!(file_system(mounts, Path::new("/data/my disk/a")), Some("xfs"));
        assert_eq!(file_system("", Path::new("/")), None);
    }
}
