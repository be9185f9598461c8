//! How soon a plain tag can be pulled, at a registry that nobody here wrote.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::time::{Instant, sleep};

use crate::service::{SECRET, Service, free_address};
use crate::support::RealRegistry;
use crate::support::image::OCI_INDEX;
use crate::{Options, Result, at_most};

/// How often a tag is pushed.
const ROUNDS: usize = 20;
/// What is between two looks at the plain tag.
const PAUSE: Duration = Duration::from_millis(2);
/// No tag may take longer than this.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) async fn measure(options: &Options) -> Result<bool> {
    let listen = free_address()?;
    let registry = RealRegistry::start_with(&notifications(&listen)).await;
    let rule = "require = [\"amd64\", \"arm64\"]";
    let service = Service::start_at(&listen, &options.binary, &registry.host(), rule).await?;
    let client = reqwest::Client::builder().no_proxy().build()?;

    let mut times = Vec::new();
    for round in 0..ROUNDS {
        registry.push_image(&format!("acme/ubuntu:amd64-r{round}"), "linux/amd64").await;
        sleep(Duration::from_millis(300)).await;
        registry.push_image(&format!("acme/ubuntu:arm64-r{round}"), "linux/arm64/v8").await;
        let pushed = Instant::now();
        let url = format!("http://{}/v2/acme/ubuntu/manifests/r{round}", registry.host());
        while client.head(&url).header("Accept", OCI_INDEX).send().await?.status() != StatusCode::OK {
            if pushed.elapsed() > LIMIT {
                return Err(format!("the plain tag was not published:\n{}", service.log()).into());
            }
            sleep(PAUSE).await;
        }
        times.push(pushed.elapsed());
    }
    drop(service);
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    crate::note("the slowest of 20 plain tags was there after", "ms", ms(times[ROUNDS - 1]));
    Ok(at_most("the plain tag was there after the last push, median of 20", "ms", ms(times[ROUNDS / 2]), 150.0))
}

fn notifications(listen: &str) -> String {
    format!(
        "notifications:\n  endpoints:\n    - name: onetag\n      url: http://{listen}/hooks/prod\n      \
         headers:\n        Authorization: [\"{SECRET}\"]\n      timeout: 5s\n      threshold: 5\n      backoff: 5s\n      \
         ignore:\n        mediatypes: [application/octet-stream]\n        actions: [pull, mount, delete]\n"
    )
}
