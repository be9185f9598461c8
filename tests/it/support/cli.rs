//! Runs the `onetag` binary as a user would, in an environment that holds nothing else.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// No run may take longer than this.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// What a program left behind.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The exit code; -1 if it was killed by a signal.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ran {
    /// Each line of the standard output as JSON.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| match serde_json::from_str(line) {
            Ok(value) => value,
            Err(error) => panic!("`{line}` is not JSON: {error}"),
        };
        self.stdout.lines().map(parse).collect()
    }

    /// The whole standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("`{}` is not JSON: {error}", self.stdout),
        }
    }

    /// Panics with both outputs unless it ended with this code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ran {
        let Ran { code: found, stdout, stderr } = &self;
        assert_eq!(*found, code, "exit code\nstdout:\n{stdout}\nstderr:\n{stderr}");
        self
    }
}

/// A run of `onetag` to be.
pub struct Cli {
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
    directory: Option<PathBuf>,
    home: TempDir,
}

/// `onetag` with these arguments and a home of its own that is empty.
pub fn onetag<I: Into<OsString>>(arguments: impl IntoIterator<Item = I>) -> Cli {
    Cli::program(env!("CARGO_BIN_EXE_onetag"), arguments)
}

impl Cli {
    /// Any program, as clean.
    pub fn program<I: Into<OsString>>(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = I>) -> Cli {
        Cli {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            variables: Vec::new(),
            stdin: Vec::new(),
            directory: None,
            home: TempDir::new().expect("a temporary directory"),
        }
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Cli {
        self.arguments.push(argument.into());
        self
    }

    /// More arguments.
    pub fn args(mut self, arguments: &[&str]) -> Cli {
        self.arguments.extend(arguments.iter().map(OsString::from));
        self
    }

    /// A variable of the environment; `HOME` and `PATH` can be set too.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Cli {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// What it can read from its standard input; nothing otherwise.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Cli {
        self.stdin = bytes.into();
        self
    }

    /// Another home than an empty one.
    pub fn home(self, home: &Path) -> Cli {
        self.env("HOME", home)
    }

    /// The directory it runs in; its home otherwise.
    pub fn directory(mut self, directory: &Path) -> Cli {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Puts a file into its home, for example `.docker/config.json`.
    pub fn home_file(self, path: &str, content: impl AsRef<[u8]>) -> Cli {
        let path = self.home.path().join(path);
        let parent = path.parent().expect("a file below the home has a parent");
        std::fs::create_dir_all(parent).expect("a directory in the home");
        std::fs::write(path, content).expect("a file in the home");
        self
    }

    /// Where a file of its home is.
    pub fn home_path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    /// A variable that names a place in its home.
    pub fn env_home(self, name: &str, path: &str) -> Cli {
        let place = self.home_path(path);
        self.env(name, place)
    }

    /// Runs it to its end.
    pub async fn run(self) -> Ran {
        self.spawn().wait().await
    }

    /// Starts it, to talk to it while it runs.
    pub fn spawn(self) -> Running {
        let home = self.home.path();
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .env("ONETAG_CACHE_DIR", home.join("onetag-cache"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.as_deref().unwrap_or(home))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", profile); // coverage, when it is measured
        }
        let program = self.program.display();
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("could not start `{program}`: {error}; is it installed?"));

        let mut stdin = child.stdin.take().expect("stdin is piped");
        let stdout = collect(child.stdout.take().expect("stdout is piped"));
        let stderr = collect(child.stderr.take().expect("stderr is piped"));
        tokio::spawn(async move {
            let _ = stdin.write_all(&self.stdin).await; // it may well not read any of it
        });
        Running { child, stdout, stderr, _home: self.home }
    }
}

type Output = (Arc<Mutex<Vec<u8>>>, JoinHandle<()>);

/// A run under way; it is killed when this is dropped.
pub struct Running {
    child: Child,
    stdout: Output,
    stderr: Output,
    _home: TempDir,
}

impl Running {
    /// Sends a signal, for example `TERM`.
    pub async fn signal(&self, name: &str) {
        let id = self.child.id().expect("the program still runs").to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().await;
        assert!(status.expect("`kill` starts").success(), "could not send {name} to {id}");
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id().expect("the program still runs")
    }

    /// What it wrote to its standard output so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// What it wrote to its standard error so far.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Waits until one of its outputs has this text.
    #[track_caller]
    pub fn wait_for(&self, part: &str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let deadline = tokio::time::Instant::now() + RUN_LIMIT;
            while !self.stdout().contains(part) && !self.stderr().contains(part) {
                let (out, err) = (self.stdout(), self.stderr());
                let is_late = tokio::time::Instant::now() >= deadline;
                assert!(!is_late, "{place}: `{part}` never came\nstdout:\n{out}\nstderr:\n{err}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Waits for its end.
    pub async fn wait(mut self) -> Ran {
        let Ok(status) = tokio::time::timeout(RUN_LIMIT, self.child.wait()).await else {
            let (out, err) = (self.stdout(), self.stderr());
            panic!("the program still runs after {RUN_LIMIT:?}\nstdout:\n{out}\nstderr:\n{err}");
        };
        let _ = (&mut self.stdout.1).await;
        let _ = (&mut self.stderr.1).await;
        let code = status.expect("a child can be waited for").code().unwrap_or(-1);
        Ran { code, stdout: self.stdout(), stderr: self.stderr() }
    }
}

fn collect(mut pipe: impl AsyncReadExt + Unpin + Send + 'static) -> Output {
    let collected = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&collected);
    let task = tokio::spawn(async move {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
            sink.lock().unwrap().extend_from_slice(&buffer[..length]);
        }
    });
    (collected, task)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.0.lock().unwrap()).into_owned()
}
