//! What an image starts, read from its config.
//!
//! image-spec 1.1, "OCI Image Configuration": `Entrypoint`, `Cmd`, `Env` and `WorkingDir`.

use serde::{Deserialize, Deserializer};

/// Where programs are looked for when the config does not say; what runtimes use.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The most folders of a search path that are looked through; whoever has one more is told so.
pub(super) const MOST_FOLDERS: usize = 256;

/// What an image starts, and where it looks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The program and its arguments; empty where the image starts nothing by itself.
    pub arguments: Vec<String>,
    /// The folders in which a program without `/` is looked for, in order.
    pub path: Vec<String>,
    /// The folder that it starts in.
    pub folder: String,
    /// Whether it is an image for Windows.
    pub is_windows: bool,
    /// How many of the arguments are the entry point's; the others are the command's.
    pub entry_words: usize,
}

#[derive(Default, Deserialize)]
struct Config {
    os: Option<String>,
    config: Option<Inner>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Inner {
    #[serde(deserialize_with = "list_or_text")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "list_or_text")]
    cmd: Vec<String>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
}

/// Reads what an image starts; `None` if the config cannot be read.
pub fn read_start(config: &[u8]) -> Option<Start> {
    let Config { os, config } = serde_json::from_slice(config).ok()?;
    let Inner { entrypoint, cmd, env, working_dir } = config.unwrap_or_default();
    let is_windows = os.as_deref() == Some("windows");
    let path = env.unwrap_or_default().into_iter().rev().find_map(|variable| {
        let (name, value) = variable.split_once('=')?;
        let is_path = if is_windows { name.eq_ignore_ascii_case("PATH") } else { name == "PATH" };
        is_path.then(|| value.to_owned())
    });
    let (separator, usual) = if is_windows { (';', "") } else { (':', USUAL_PATH) };
    let folders = path.as_deref().unwrap_or(usual).split(separator);
    let path = folders.take(MOST_FOLDERS + 1).map(str::to_owned).collect();
    let command = cmd.len();
    // An empty word takes an entry point away that a base image has.
    let arguments: Vec<String> = entrypoint.into_iter().chain(cmd).skip_while(String::is_empty).collect();
    Some(Start {
        entry_words: arguments.len().saturating_sub(command),
        arguments,
        path,
        folder: working_dir.filter(|folder| !folder.is_empty()).unwrap_or_else(|| "/".to_owned()),
        is_windows,
    })
}

/// Docker also reads a single string as a list of one.
fn list_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Option::<Either>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Either::List(list)) => list,
        Some(Either::Text(text)) => vec![text],
    })
}

/// The interpreter of a script and its one argument, from the text behind `#!`.
pub(super) fn interpreter(line: &str) -> (&str, Option<&str>) {
    match line.split_once([' ', '\t']) {
        Some((program, rest)) => (program, Some(rest.trim()).filter(|rest| !rest.is_empty())),
        None => (line, None),
    }
}

/// The program that `env` is told to start: the first word that is no option and no variable.
pub(super) fn env_word(argument: &str) -> Option<&str> {
    argument.split_ascii_whitespace().find(|word| !word.starts_with('-') && !word.contains('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(config: &str) -> Start {
        read_start(config.as_bytes()).expect("a config")
    }

    #[test]
    fn entry_point_and_command_are_one_list() {
        let told = |config: &str| start(config).arguments.join(" ");
        assert_eq!(told(r#"{"config":{"Entrypoint":["/init"],"Cmd":["-x"]}}"#), "/init -x");
        assert_eq!(told(r#"{"config":{"Entrypoint":null,"Cmd":["bash"]}}"#), "bash");
        assert_eq!(told(r#"{"config":{"Entrypoint":"/init"}}"#), "/init");
        assert_eq!(told(r#"{"config":{"Entrypoint":[""],"Cmd":["bash"]}}"#), "bash");
        assert_eq!(told(r#"{"config":null}"#), "");
        assert_eq!(told("{}"), "");
        let entry_words = |config: &str| start(config).entry_words;
        assert_eq!(entry_words(r#"{"config":{"Entrypoint":["/init","-v"],"Cmd":["-x"]}}"#), 2);
        assert_eq!(entry_words(r#"{"config":{"Entrypoint":[""],"Cmd":["bash"]}}"#), 0);
        assert_eq!(entry_words(r#"{"config":{"Cmd":["","bash"]}}"#), 0);
        assert_eq!(read_start(br#"{"config":{"Entrypoint":[1]}}"#), None);
        assert_eq!(read_start(b"text"), None);
    }

    #[test]
    fn the_path_is_the_configs_or_the_usual_one() {
        assert_eq!(start("{}").path.join(":"), USUAL_PATH);
        assert_eq!(start("{}").folder, "/");
        let own = start(r#"{"config":{"Env":["PATH=/no","A=b","PATH=/bin::/x"],"WorkingDir":"/srv"}}"#);
        assert_eq!((own.path, own.folder), (["/bin", "", "/x"].map(str::to_owned).to_vec(), "/srv".to_owned()));
        let windows = start(r#"{"os":"windows","config":{"Env":["Path=C:\\a;C:\\b"]}}"#);
        assert_eq!((windows.path, windows.is_windows), (["C:\\a", "C:\\b"].map(str::to_owned).to_vec(), true));
    }

    #[test]
    fn a_path_without_end_is_cut_behind_more_folders_than_are_looked_through() {
        let config = format!(r#"{{"config":{{"Env":["PATH={}"]}}}}"#, ":".repeat(1_000_000));
        assert_eq!(start(&config).path.len(), MOST_FOLDERS + 1);
    }

    #[test]
    fn a_script_names_its_interpreter_and_one_argument() {
        assert_eq!(interpreter("/bin/sh"), ("/bin/sh", None));
        assert_eq!(interpreter("/usr/bin/env\t-S A=1 python3 -u"), ("/usr/bin/env", Some("-S A=1 python3 -u")));
        assert_eq!(env_word("-S A=1 python3 -u"), Some("python3"));
        assert_eq!(env_word("-i A=1"), None);
    }
}
