//! `onetag serve` as a process of its own, and what it costs.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::Result;

/// A database of the service's own.
pub(crate) const SQLITE: &str = "sqlite://onetag.db";
/// What senders show in `Authorization`.
pub(crate) const SECRET: &str = "Bearer 3f1c0b6a59f14d0c8e7a";
/// No start or backlog may take longer than this.
const LIMIT: Duration = Duration::from_secs(120);

/// A service under way; it is killed when this is dropped.
pub(crate) struct Service {
    child: Child,
    listen: String,
    admin: String,
    client: reqwest::Client,
    home: TempDir,
}

/// Where to post deliveries.
#[derive(Clone)]
pub(crate) struct Hook {
    pub(crate) address: String,
}

impl Service {
    /// Starts it on a database for `acme/*` at a registry; `rule` is more of the rule's configuration.
    pub(crate) async fn start(binary: &Path, database: &str, registry: &str, rule: &str) -> Result<Service> {
        Service::start_at(&free_address()?, binary, database, registry, rule).await
    }

    /// The same, where somebody was told to deliver to.
    pub(crate) async fn start_at(
        listen: &str,
        binary: &Path,
        database: &str,
        registry: &str,
        rule: &str,
    ) -> Result<Service> {
        let home = TempDir::with_prefix_in("onetag-bench-", env!("CARGO_TARGET_TMPDIR"))?;
        let admin = free_address()?;
        let config = format!(
            "listen = \"{listen}\"\nadmin = \"{admin}\"\ndatabase = \"{database}\"\n\
             [[repository]]\nregistry = \"{registry}\"\nname = \"acme/*\"\n{rule}\n\
             [[hook]]\nname = \"prod\"\nformat = \"distribution\"\nregistry = \"{registry}\"\n\
             secret = {{ env = \"HOOK_SECRET\" }}\nheader = \"Authorization\"\n"
        );
        std::fs::write(home.path().join("onetag.toml"), config)?;
        let child = Command::new(binary)
            .arg("serve")
            .env_clear()
            .env("HOME", home.path())
            .env("HOOK_SECRET", SECRET)
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(home.path().join("log"))?)
            .spawn()?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut service = Service { child, listen: listen.to_owned(), admin, client, home };
        service.is_ready().await?;
        Ok(service)
    }

    async fn is_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        let url = format!("http://{}/readyz", self.listen);
        while Instant::now() < deadline && self.child.try_wait()?.is_none() {
            if self.client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(format!("the service does not start:\n{}", self.log()).into())
    }

    /// What it said last.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    pub(crate) fn hook(&self) -> Hook {
        Hook { address: self.listen.clone() }
    }

    /// The most memory that it held at once so far, in MB.
    pub(crate) fn peak_memory(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
        Ok(kib.ok_or("the kernel tells no high-water mark")? * 1024.0 / 1e6)
    }

    /// How much time it spent on the processors so far.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        processor_time(self.child.id(), 2)
    }

    /// What it tells Prometheus under a name without labels.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let text = self.client.get(format!("http://{}/metrics", self.admin)).send().await?.text().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.ok_or_else(|| format!("there is no metric `{name}`").into())
    }

    /// Waits until nothing waits or runs any more, here and on the same database.
    pub(crate) async fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while self.metric("onetag_jobs_waiting").await? + self.metric("onetag_jobs_running").await? > 0.0 {
            if Instant::now() > deadline {
                return Err("the service did not come to an end with its jobs".into());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How much time a process spent on the processors; with four `columns` so did its children that are
/// gone (proc(5), `stat`).
pub(crate) fn processor_time(id: u32, columns: usize) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = after_name.split(' ').skip(11).take(columns).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(10) * u32::try_from(ticks)?)
}

/// A loopback address that nobody listens on.
pub(crate) fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
