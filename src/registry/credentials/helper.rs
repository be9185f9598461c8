//! Credential helpers: programs called `docker-credential-<name>` that keep logins for docker.
//!
//! A helper gets the registry on its standard input and answers with JSON. It may be slow, broken
//! or chatty, and what it writes may be a secret, so it has a time limit, a size limit, and
//! nothing it writes is ever repeated.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};

use super::{Credentials, CredentialsError, Environment};

/// The most a helper may write, on each of its outputs.
const OUTPUT_LIMIT_BYTES: u64 = 64 * 1024;

/// How every helper says that it has no login, on either of its outputs.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// The user name that marks the secret as an identity token.
const TOKEN_USERNAME: &str = "<token>";

/// A program that keeps logins.
#[derive(Debug)]
pub(super) struct Helper {
    program: String,
    named_in: PathBuf,
}

/// All that a helper did.
struct Outcome {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    status: ExitStatus,
}

/// What a helper answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: Option<String>,
    #[serde(rename = "Secret")]
    secret: Option<String>,
}

impl Helper {
    /// The helper that the file at `path` calls `name`.
    pub(super) fn named(name: &str, path: &Path) -> Result<Helper, CredentialsError> {
        let is_safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !name.bytes().all(is_safe) {
            let (path, name) = (path.to_owned(), name.to_owned());
            return Err(CredentialsError::UnsafeHelperName { path, name });
        }
        Ok(Helper { program: format!("docker-credential-{name}"), named_in: path.to_owned() })
    }

    /// Asks for the login to `server`; `None` if the helper has none.
    ///
    /// Wire: `docker-credential-<name> get`, the server on standard input without a line break,
    /// answered by `{"ServerURL": …, "Username": …, "Secret": …}` and exit code 0.
    /// Spec: docker-credential-helpers, README.md, "Development".
    pub(super) async fn get(
        &self,
        server: &str,
        environment: &Environment,
    ) -> Result<Option<Credentials>, CredentialsError> {
        let outcome = self.run(server, environment).await?;
        if outcome.status.success() {
            return self.understand(&outcome.stdout, server);
        }
        if says_not_found(&outcome.stdout) || says_not_found(&outcome.stderr) {
            return Ok(None);
        }
        Err(CredentialsError::HelperFailed {
            helper: self.program.clone(),
            server: server.to_owned(),
            status: outcome.status,
        })
    }

    /// Runs the program to its end, or to ours: too long or too much, and it is killed.
    async fn run(&self, server: &str, environment: &Environment) -> Result<Outcome, CredentialsError> {
        let mut command = Command::new(self.locate(environment).await?);
        command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        if let Some(path) = &environment.path {
            command.env("PATH", path);
        }
        let mut child = command.spawn().map_err(|source| self.unusable(source))?;

        let timeout = environment.helper_timeout;
        let outcome = match tokio::time::timeout(timeout, self.converse(&mut child, server)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CredentialsError::HelperTimedOut { helper: self.program.clone(), timeout }),
        };
        if outcome.is_err() {
            // It may have ended by itself meanwhile, which is as good.
            let _ = child.kill().await;
        }
        outcome
    }

    /// Finds the program on the PATH we were given. Relative folders are passed over, so that
    /// nothing is ever run from the folder we happen to be in.
    async fn locate(&self, environment: &Environment) -> Result<PathBuf, CredentialsError> {
        let path = environment.path.as_deref().unwrap_or_default();
        for folder in std::env::split_paths(path).filter(|folder| folder.is_absolute()) {
            let program = folder.join(&self.program);
            if tokio::fs::metadata(&program).await.is_ok_and(|metadata| metadata.is_file()) {
                return Ok(program);
            }
        }
        Err(CredentialsError::HelperMissing { helper: self.program.clone(), path: self.named_in.clone() })
    }

    /// Writes, reads and waits at once, since a helper may do its part in any order.
    async fn converse(&self, child: &mut Child, server: &str) -> Result<Outcome, CredentialsError> {
        let stdin = child.stdin.take().expect("standard input is piped by `run`");
        let stdout = child.stdout.take().expect("standard output is piped by `run`");
        let stderr = child.stderr.take().expect("standard error is piped by `run`");

        let end = async { child.wait().await.map_err(|source| self.unusable(source)) };
        let ((), stdout, stderr, status) =
            tokio::try_join!(tell(stdin, server), self.hear(stdout), self.hear(stderr), end)?;
        Ok(Outcome { stdout, stderr, status })
    }

    async fn hear(&self, output: impl AsyncRead + Unpin) -> Result<Vec<u8>, CredentialsError> {
        let mut bytes = Vec::new();
        let mut output = output.take(OUTPUT_LIMIT_BYTES + 1);
        output.read_to_end(&mut bytes).await.map_err(|source| self.unusable(source))?;
        if bytes.len() as u64 > OUTPUT_LIMIT_BYTES {
            let helper = self.program.clone();
            return Err(CredentialsError::HelperTooLong { helper, limit_bytes: OUTPUT_LIMIT_BYTES });
        }
        Ok(bytes)
    }

    fn understand(&self, stdout: &[u8], server: &str) -> Result<Option<Credentials>, CredentialsError> {
        let misspoke = |problem| CredentialsError::HelperMisspoke {
            helper: self.program.clone(),
            server: server.to_owned(),
            problem,
        };
        let answer: Answer = serde_json::from_slice(stdout)
            .map_err(|_| misspoke("expected a JSON object with the texts `Username` and `Secret`"))?;
        let username = answer.username.unwrap_or_default();
        match answer.secret.unwrap_or_default() {
            // Some helpers answer with blanks where they should say that they know nothing.
            secret if secret.is_empty() => Ok(None),
            token if username == TOKEN_USERNAME => {
                Ok(Some(Credentials::IdentityToken { username: None, token: token.into() }))
            }
            _ if username.is_empty() => Err(misspoke("it has a secret without a user name, expected both")),
            password => {
                let place = || format!("the answer of `{}` for {server}", self.program);
                Credentials::basic(username, password.into(), place).map(Some)
            }
        }
    }

    fn unusable(&self, source: std::io::Error) -> CredentialsError {
        CredentialsError::HelperUnusable { helper: self.program.clone(), source }
    }
}

/// Writes the question and closes the pipe. A helper may answer without reading it.
async fn tell(mut stdin: ChildStdin, server: &str) -> Result<(), CredentialsError> {
    let _ = stdin.write_all(server.as_bytes()).await;
    Ok(())
}

fn says_not_found(output: &[u8]) -> bool {
    String::from_utf8_lossy(output).contains(NOT_FOUND)
}
