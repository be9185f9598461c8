//! What stands behind the program that an image starts: a shell, an init or an emulator is there to
//! start another.
//!
//! Only plain words are understood. Where a program comes to what it starts in any other way, it
//! stands for itself.

/// What the shell itself does, and what is part of its language: neither is a program.
const SHELL_WORDS: &[&str] = &[
    ".",
    ":",
    "alias",
    "bg",
    "bind",
    "break",
    "builtin",
    "case",
    "cd",
    "command",
    "continue",
    "coproc",
    "declare",
    "dirs",
    "disown",
    "do",
    "done",
    "echo",
    "elif",
    "else",
    "enable",
    "esac",
    "eval",
    "exit",
    "export",
    "false",
    "fc",
    "fg",
    "fi",
    "for",
    "function",
    "getopts",
    "hash",
    "help",
    "history",
    "if",
    "in",
    "jobs",
    "kill",
    "let",
    "local",
    "logout",
    "mapfile",
    "popd",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "return",
    "select",
    "set",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "then",
    "time",
    "times",
    "trap",
    "true",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "until",
    "wait",
    "while",
];

/// The options of a program that come before what it starts.
struct Options {
    /// Letters, with `:` behind each that takes a value.
    letters: &'static str,
    /// Long ones, with `=` behind each that takes a value.
    long: &'static [&'static str],
}

const TINI: Options = Options { letters: "vwgslp:e:", long: &[] };
const DUMB_INIT: Options = Options { letters: "cvr:", long: &["single-child", "verbose", "rewrite="] };
const CATATONIT: Options = Options { letters: "g", long: &[] };
const ENV: Options = Options { letters: "iu:", long: &["ignore-environment", "unset="] };
const SHELL: Options =
    Options { letters: "abefhiklmnprtuvxBCEHPTo:O:", long: &["login", "noprofile", "norc", "posix"] };

/// The words that the first of `words` starts, where that is plain; there is at least one.
pub(super) fn behind<'a>(words: &[&'a str]) -> Option<Vec<&'a str>> {
    let (first, rest) = words.split_first()?;
    let behind = match first.rsplit('/').next()? {
        "sh" | "bash" | "dash" | "ash" | "zsh" => script_words(script(rest)?),
        "tini" | "tini-static" | "docker-init" => past_options(rest, &TINI)?.to_vec(),
        "dumb-init" => past_options(rest, &DUMB_INIT)?.to_vec(),
        "catatonit" => past_options(rest, &CATATONIT)?.to_vec(),
        "env" => past_options(rest, &ENV)?.iter().copied().skip_while(|word| word.contains('=')).collect(),
        _ if is_emulator(first) => rest.iter().copied().skip_while(|word| !word.starts_with('/')).collect(),
        _ => return None,
    };
    behind.first().is_some_and(|word| !word.is_empty()).then_some(behind)
}

/// `qemu-arm-static`. One that only lies in an image for another machine was used to build it; one
/// that the image starts must itself run.
pub(super) fn is_emulator(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with("qemu-") && name.ends_with("-static")
}

/// What is left of `words` behind the options; `None` where one of them is not known.
fn past_options<'a, 'b>(mut words: &'a [&'b str], options: &Options) -> Option<&'a [&'b str]> {
    while let Some((word, rest)) = words.split_first() {
        if *word == "--" {
            return Some(rest);
        }
        let Some(option) = word.strip_prefix('-').filter(|option| !option.is_empty()) else { break };
        let takes_next = match option.strip_prefix('-') {
            Some(long) => options.takes_next_behind_word(long)?,
            None => options.takes_next_behind_letters(option)?,
        };
        words = rest.get(usize::from(takes_next)..)?;
    }
    Some(words)
}

impl Options {
    fn takes_next_behind_word(&self, word: &str) -> Option<bool> {
        let has_value =
            |known: &&&str| known.strip_suffix('=').is_some_and(|known| word.split('=').next() == Some(known));
        if self.long.contains(&word) {
            return Some(false);
        }
        self.long.iter().find(has_value).map(|_| !word.contains('='))
    }

    /// The value of a letter is what stands behind it in the same word, or else the next word.
    fn takes_next_behind_letters(&self, word: &str) -> Option<bool> {
        for (at, letter) in word.char_indices() {
            let (_, behind) = self.letters.split_once(letter).filter(|_| letter != ':')?;
            if behind.starts_with(':') {
                return Some(at + letter.len_utf8() == word.len());
            }
        }
        Some(false)
    }
}

/// The script that a shell is given by `-c`.
fn script<'a>(words: &[&'a str]) -> Option<&'a str> {
    let mut words = words;
    while let Some((word, rest)) = words.split_first() {
        let is_command = word.starts_with('-') && !word.starts_with("--") && word.contains('c');
        let without = if is_command { word.replace('c', "") } else { (*word).to_owned() };
        let next = if without == "-" { rest } else { past_one(&without, rest)? };
        if is_command {
            return next.first().copied().filter(|script| !script.starts_with(['-', '+']));
        }
        words = next;
    }
    None
}

/// What is left behind one option of a shell, whose value may be the next word.
fn past_one<'a, 'b>(option: &str, rest: &'a [&'b str]) -> Option<&'a [&'b str]> {
    let option = option.strip_prefix(['-', '+']).filter(|option| !option.is_empty())?;
    let takes_next = match option.strip_prefix('-') {
        Some(long) => SHELL.takes_next_behind_word(long)?,
        None => SHELL.takes_next_behind_letters(option)?,
    };
    rest.get(usize::from(takes_next)..)
}

/// The plain words that a script begins with: the program that the shell starts first, or becomes,
/// and what it is given. There are none where the shell does something by itself first.
fn script_words(script: &str) -> Vec<&str> {
    let line = script.trim_start().lines().next().unwrap_or_default();
    let mut words: Vec<&str> = line.split_ascii_whitespace().take_while(|word| is_plain(word)).collect();
    let is_assigned = |word: &str| word.split_once('=').is_some_and(|(name, _)| is_name(name));
    let assigned = words.iter().take_while(|word| is_assigned(word)).count();
    let has_own_path = words.drain(..assigned).any(|word| word.starts_with("PATH="));
    if words.first() == Some(&"exec") {
        words.remove(0);
    }
    match words.first() {
        Some(word) if word.contains('/') && !word.contains('=') => words,
        Some(word) if has_own_path || word.contains('=') || word.starts_with('-') || SHELL_WORDS.contains(word) => {
            Vec::new()
        }
        _ => words,
    }
}

/// Whether a shell takes a word as it stands.
fn is_plain(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_alphanumeric() || "_./+-@%:,=".contains(c))
}

fn is_name(word: &str) -> bool {
    !word.starts_with(|c: char| c.is_ascii_digit())
        && !word.is_empty()
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &[&str]) -> String {
        behind(words).map_or_else(|| "itself".to_owned(), |words| words.join(" "))
    }

    #[test]
    fn only_a_plain_word_of_a_script_is_taken() {
        let told = |script: &str| told(&["sh", "-c", script]);
        assert_eq!(told("exec /usr/bin/foo --x"), "/usr/bin/foo --x");
        assert_eq!(told("  exec\tfoo"), "foo");
        assert_eq!(told("foo \"a b\" c"), "foo");
        assert_eq!(told("executor foo; foo"), "executor");
        assert_eq!(told("A=1 B= exec foo --c=d"), "foo --c=d");
        assert_eq!(told("PATH=/x ./foo"), "./foo");
        assert_eq!(told("/bin/test"), "/bin/test");
        assert_eq!(told("foo\nbar"), "foo");
        for script in [
            "exec",
            "exec -a name foo",
            "exec $FOO",
            "exec \"foo\"",
            "exec A=1 foo",
            "exec foo&",
            "test foo",
            "if foo",
            "foo; bar",
            "(foo)",
            "PATH=/x foo",
            "A=$B foo",
            "A=\"b c\" foo",
            "# foo",
            "",
            "exec\nfoo",
        ] {
            assert_eq!(told(script), "itself", "{script}");
        }
    }

    #[test]
    fn a_script_is_found_behind_the_options_of_a_shell() {
        for options in [
            &["-c"][..],
            &["-ec"],
            &["-o", "pipefail", "-c"],
            &["-euxo", "pipefail", "-c"],
            &["-eo", "pipefail", "-xc"],
            &["+x", "-c"],
            &["--login", "-c"],
            &["-cx"],
            &["-O", "extglob", "-c"],
            &["-co", "pipefail"],
        ] {
            assert_eq!(told(&[&["/bin/bash"], options, &["foo"]].concat()), "foo", "{options:?}");
        }
        for words in [
            &["sh"][..],
            &["sh", "-c"],
            &["sh", "foo"],
            &["sh", "foo", "-c", "bar"],
            &["sh", "--new", "-c", "foo"],
            &["sh", "-c", "-x", "foo"],
            &["sh", "-Z", "-c", "foo"],
            &["sh", "--", "-c", "foo"],
            &["sh", "-", "foo"],
        ] {
            assert_eq!(told(words), "itself", "{words:?}");
        }
    }

    #[test]
    fn the_options_of_an_init_are_not_what_it_starts() {
        for words in [
            &["/sbin/tini", "--", "foo", "-x"][..],
            &["tini", "foo", "-x"],
            &["tini", "-vvg", "-e", "143", "foo", "-x"],
            &["tini-static", "-p", "SIGTERM", "--", "foo", "-x"],
            &["docker-init", "-e143", "foo", "-x"],
            &["dumb-init", "-r", "15:3", "-c", "--verbose", "foo", "-x"],
            &["dumb-init", "--rewrite=1:2", "foo", "-x"],
            &["catatonit", "-g", "--", "foo", "-x"],
            &["/usr/bin/env", "-i", "-u", "C", "A=1", "foo", "-x"],
        ] {
            assert_eq!(told(words), "foo -x", "{words:?}");
        }
        for words in [
            &["tini"][..],
            &["tini", "--"],
            &["tini", "-e"],
            &["tini", "-:", "foo"],
            &["tini", "--new", "1", "foo"],
            &["catatonit", "-P"],
            &["env", "A=1"],
            &["env", "-S", "foo -x"],
            &["foo", "--", "bar"],
            &["tini", ""],
        ] {
            assert_eq!(told(words), "itself", "{words:?}");
        }
    }
}
