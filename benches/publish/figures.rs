//! What a process costs beside time on the wire: starting, memory, and room on disk.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::run::command;
use crate::tools::Tool;
use crate::{Result, median};

/// How often a start is timed.
const STARTS: usize = 50;

/// How long `--version` takes, from start to exit.
pub(crate) async fn start_up(binary: &Path) -> Result<Duration> {
    let home = TempDir::with_prefix("onetag-bench-")?;
    let step = [binary.display().to_string(), "--version".to_owned()];
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let mut command = command(&step, home.path())?;
        let started = Instant::now();
        command.stdout(Stdio::null()).status().await?;
        times.push(started.elapsed());
    }
    Ok(median(&mut times))
}

/// The most memory that a run of one step held at once, in bytes.
///
/// The kernel's own high-water mark (`VmHWM`) is read every millisecond until the end. What
/// `wait4` and `/usr/bin/time` report would not do: it counts what the parent held at the fork.
pub(crate) async fn peak_memory(tool: &Tool) -> Result<u64> {
    let home = TempDir::with_prefix("onetag-bench-")?;
    let mut child = command(&tool.steps[0], home.path())?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id().ok_or("it ended before it began")?);
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        peak = peak.max(high_water_mark(&status).unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if peak == 0 { Err("the kernel tells no high-water mark".into()) } else { Ok(peak) }
}

fn high_water_mark(status: &str) -> Option<u64> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
