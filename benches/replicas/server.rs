//! What a server of PostgreSQL costs.

use std::time::Duration;

use crate::common::Result;
use crate::common::service::processor_time;
use crate::support::Postgres;

/// How much time it and all its processes spent on the processors, those that are gone included.
pub(crate) fn processor_time_of(server: &Postgres) -> Result<Duration> {
    let file = std::fs::read_to_string(server.data().join("postmaster.pid"))?;
    let parent: u32 = file.lines().next().unwrap_or_default().parse()?;
    let mut time = processor_time(parent, 4)?;
    for entry in std::fs::read_dir("/proc")? {
        let Ok(id) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        if stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)) == Some(parent.to_string().as_str()) {
            time += processor_time(id, 2).unwrap_or_default();
        }
    }
    Ok(time)
}
