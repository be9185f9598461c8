//! Passwords in the file that PostgreSQL's own programs look into, by the rules of libpq
//! (<https://www.postgresql.org/docs/current/libpq-pgpass.html>).
//!
//! The driver would read it, too, but tells the log the whole of a line that it cannot use.

use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::model::text::clean;

/// What is read of a file at most; nobody has so many passwords.
const LARGEST: u64 = 1 << 20;
/// Directories of sockets that libpq takes for its own, and so for `localhost`.
const SOCKETS: [&str; 3] = ["/run/postgresql", "/var/run/postgresql", "/tmp"];

/// The login that a password is looked for.
pub(super) struct Login<'l> {
    /// A name, an address without brackets, or the directory of a socket.
    pub(super) host: &'l str,
    pub(super) port: u16,
    pub(super) database: &'l str,
    pub(super) user: &'l str,
}

/// What a file holds.
#[derive(Default)]
pub(super) struct Passwords {
    lines: Vec<Line>,
    /// What the reader of the log should know: never a part of a line.
    pub(super) warnings: Vec<String>,
}

struct Line {
    /// Host, port, database, user; `None` is any.
    of: [Option<String>; 4],
    password: SecretString,
}

/// Where the file is, whether or not it is there. A variable that names one names no second.
pub(super) fn path() -> Option<PathBuf> {
    let named = std::env::var_os("PGPASSFILE").filter(|path| !path.is_empty());
    named.map(PathBuf::from).or_else(|| std::env::home_dir().map(|home| home.join(".pgpass")))
}

/// Reads the file. One that others may read is not used, as libpq has it.
pub(super) fn read(path: &Path) -> Passwords {
    let name = clean(&path.display().to_string(), 200);
    let unused = |why: String| Passwords { lines: Vec::new(), warnings: vec![format!("{name} is not used: {why}")] };
    let bytes = match private_bytes(path) {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(why)) => return unused(why),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Passwords::default(),
        Err(error) => return unused(error.to_string()),
    };
    let mut passwords = Passwords::default();
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
        let line = std::str::from_utf8(line).map(|line| line.trim_end_matches('\r'));
        if line.is_ok_and(|line| line.is_empty() || line.starts_with('#')) {
            continue;
        }
        match line.ok().and_then(parse) {
            Some(line) => passwords.lines.push(line),
            None => passwords.warnings.push(format!(
                "line {number} of {name} is left out: expected `host:port:database:user:password`, with `\\:` for a colon"
            )),
        }
    }
    passwords
}

fn private_bytes(path: &Path) -> io::Result<Result<Vec<u8>, String>> {
    // Before it is opened: a pipe would be waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Ok(Err("it is no plain file".to_owned()));
    }
    let file = std::fs::File::open(path)?;
    let mode = file.metadata()?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Ok(Err(format!("its mode is {mode:04o}, expected 0600, so that nobody else can read it")));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(Ok(bytes))
}

impl Passwords {
    /// The password of the first line that fits.
    pub(super) fn find(&self, login: &Login<'_>) -> Option<&SecretString> {
        let host = if SOCKETS.contains(&login.host.trim_end_matches('/')) { "localhost" } else { login.host };
        let port = login.port.to_string();
        let asked = [host, &port, login.database, login.user];
        let fits = |line: &&Line| line.of.iter().zip(asked).all(|(of, asked)| of.as_ref().is_none_or(|of| of == asked));
        self.lines.iter().find(fits).map(|line| &line.password)
    }
}

/// A line's fields. What follows the password behind one more colon is nothing yet, says libpq.
fn parse(line: &str) -> Option<Line> {
    let mut rest = line;
    let mut next = || {
        let (field, more) = field(rest);
        let is_any = rest.starts_with("*:");
        rest = more?;
        Some(if is_any { None } else { Some(field) })
    };
    let of = [next()?, next()?, next()?, next()?];
    Some(Line { of, password: field(rest).0.into() })
}

/// What stands before the next colon, and what follows it if there is one.
fn field(text: &str) -> (String, Option<&str>) {
    let (mut field, mut characters) = (String::new(), text.chars());
    while let Some(character) = characters.next() {
        match character {
            ':' => return (field, Some(characters.as_str())),
            '\\' => field.push(characters.next().unwrap_or('\\')),
            other => field.push(other),
        }
    }
    (field, None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;

    use super::*;

    fn file(content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pgpass");
        std::fs::write(&path, content).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
        (folder, path)
    }

    fn found(content: &str, host: &str, database: &str) -> Option<String> {
        let (_folder, path) = file(content, 0o600);
        let login = Login { host, port: 5432, database, user: "onetag" };
        read(&path).find(&login).map(|password| password.expose_secret().to_owned())
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        let lines = "# db:5432:onetag:onetag:comment\n\ndb:5433:onetag:onetag:other port\r\n\
                     db:*:onetag:onetag:first\r\ndb:5432:onetag:onetag:second\n*:*:*:*:any";
        assert_eq!(found(lines, "db", "onetag").as_deref(), Some("first"));
        assert_eq!(found(lines, "db", "other").as_deref(), Some("any"));
        assert_eq!(found("db:5432:onetag:somebody:theirs", "db", "onetag"), None);
    }

    #[test]
    fn what_is_escaped_is_meant() {
        assert_eq!(found(r"\:\:1:5432:one\\tag:onetag:a\:b\\c\d", "::1", r"one\tag").as_deref(), Some(r"a:b\cd"));
        assert_eq!(found(r"\*:*:*:*:no wildcard", "db", "onetag"), None);
        assert_eq!(found(r"db:*:*:*:trailing \", "db", "onetag").as_deref(), Some(r"trailing \"));
        assert_eq!(found("db:*:*:*:s3cret:reserved", "db", "onetag").as_deref(), Some("s3cret"));
    }

    #[test]
    fn a_socket_where_libpq_expects_it_is_localhost() {
        let lines = "/srv/sockets:*:*:*:elsewhere\nlocalhost:*:*:*:here";
        assert_eq!(found(lines, "/var/run/postgresql/", "onetag").as_deref(), Some("here"));
        assert_eq!(found(lines, "/srv/sockets", "onetag").as_deref(), Some("elsewhere"));
        assert_eq!(found(lines, "/srv/others", "onetag"), None);
    }

    #[test]
    fn a_line_that_is_none_is_told_by_its_number_only() {
        let (_folder, path) = file("db:*:*:*:fine\ndb:5432:onetag:s3cret\n", 0o600);
        let text = read(&path).warnings.join("\n").replace(&path.display().to_string(), "FILE");
        insta::assert_snapshot!(text, @r"line 2 of FILE is left out: expected `host:port:database:user:password`, with `\:` for a colon");
    }

    #[test]
    fn a_file_that_others_may_read_is_not_used() {
        for mode in [0o640, 0o604, 0o660] {
            let (_folder, path) = file("*:*:*:*:s3cret", mode);
            let passwords = read(&path);
            assert!(passwords.lines.is_empty());
            let text = passwords.warnings.join("\n");
            assert!(text.ends_with(", expected 0600, so that nobody else can read it"), "{text}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        assert!(read(&folder.path().join("none")).warnings.is_empty());
        assert!(read(folder.path()).warnings[0].ends_with("is not used: it is no plain file"));
    }
}
