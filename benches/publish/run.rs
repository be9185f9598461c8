//! One run of a tool: fresh processes in an empty home, timed from the first start to the last exit.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::Instant;

use crate::Result;
use crate::common::proxy::{Proxy, Seen};
use crate::tools::{HOME, Tool};

/// No run may take longer than this.
const LIMIT: Duration = Duration::from_secs(120);

/// What one run was like.
pub(crate) struct Run {
    pub(crate) started: Instant,
    pub(crate) time: Duration,
    pub(crate) seen: Seen,
}

/// Does what the tool does, from cold.
pub(crate) async fn run(tool: &Tool, proxy: &Proxy) -> Result<Run> {
    let home = TempDir::with_prefix("onetag-bench-")?;
    if let Some((name, content)) = &tool.file {
        std::fs::write(home.path().join(name), content)?;
    }
    proxy.take_seen();
    let started = Instant::now();
    for step in &tool.steps {
        let output = tokio::time::timeout(LIMIT, command(step, home.path())?.output()).await??;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let last = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("without a word");
            return Err(format!("{}: {last}", output.status).into());
        }
    }
    Ok(Run { started, time: started.elapsed(), seen: proxy.take_seen() })
}

/// A step in an environment that holds nothing of ours.
pub(crate) fn command(step: &[String], home: &Path) -> Result<Command> {
    let folder = home.to_str().ok_or("the folder for temporary files has an odd name")?;
    let mut words = step.iter().map(|word| word.replace(HOME, folder));
    let mut command = Command::new(words.next().ok_or("a step without a program")?);
    command.args(words).env_clear().current_dir(home);
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home).env("TMPDIR", home);
    // How buildah and podman are told of a registry without TLS; nobody else has this file.
    command.env("CONTAINERS_REGISTRIES_CONF", home.join("registries.conf"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}
