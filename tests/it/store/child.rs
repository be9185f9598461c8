//! Stories that need a process of their own: to be killed, or to live in a world with limits.
//!
//! Such a test starts this test binary again with itself as the only test, and tells it by a
//! variable that it is inside now and in which folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const INSIDE: &str = "ONETAG_TEST_INSIDE";

/// The folder to play the story in, inside the process made for it.
pub(super) fn inside() -> Option<PathBuf> {
    std::env::var_os(INSIDE).map(PathBuf::from)
}

/// The same test, to be run inside; `wrapper` is a command that runs the one after it.
pub(super) fn command(wrapper: &[&str], story: &str, folder: &Path) -> Command {
    let binary = std::env::current_exe().expect("the test binary");
    let binary = binary.to_str().expect("its path is text");
    let words: Vec<&str> = [wrapper, &[binary, story, "--exact", "--nocapture", "--test-threads=1"]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env(INSIDE, folder).stdin(Stdio::null());
    command
}

/// Runs it to its end, which must be a good one.
pub(super) fn play(wrapper: &[&str], story: &str, folder: &Path) {
    let played = command(wrapper, story, folder).output().expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&played.stdout), String::from_utf8_lossy(&played.stderr));
    let is_played = played.status.success() && out.contains("1 passed");
    assert!(is_played, "{story}: {}\n{out}{err}", played.status);
}
