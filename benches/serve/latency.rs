//! How soon a plain tag can be pulled, at a registry that nobody here wrote.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::time::{Instant, sleep};

use crate::common::figures::{at_most, note};
use crate::common::proxy::Proxy;
use crate::common::service::{SECRET, SQLITE, Service, free_address};
use crate::support::RealRegistry;
use crate::support::image::OCI_INDEX;
use crate::{Options, Result};

/// How often a tag is pushed.
const ROUNDS: usize = 20;
/// What is between two looks at the plain tag.
const PAUSE: Duration = Duration::from_millis(2);
/// What is between the pushes of two images of one version.
const BREATH: Duration = Duration::from_millis(300);
/// No tag may take longer than this.
const LIMIT: Duration = Duration::from_secs(30);
/// How far away the registry is.
const RTT: Duration = Duration::from_millis(100);
/// With it nobody waits for more once both images are there.
const RULE: &str = "require = [\"amd64\", \"arm64\"]";

pub(crate) async fn measure(options: &Options) -> Result<bool> {
    let listen = free_address()?;
    let registry = RealRegistry::start_with(&notifications(&listen)).await;
    let service = Service::start_at(&listen, &options.binary, SQLITE, &registry.host(), RULE).await?;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        registry.push_image(&format!("acme/ubuntu:amd64-r{round}"), "linux/amd64").await;
        sleep(BREATH).await;
        times.push(push_last(&registry, &service, &format!("r{round}")).await?);
    }
    drop(service);
    times.sort_unstable();
    note("the slowest of 20 plain tags was there after", "ms", ms(times[ROUNDS - 1]));
    Ok(at_most("the plain tag was there after the last push, median of 20", "ms", ms(times[ROUNDS / 2]), 150.0))
}

pub(crate) async fn measure_far(options: &Options) -> Result<bool> {
    let listen = free_address()?;
    let registry = RealRegistry::start_with(&notifications(&listen)).await;
    let proxy = Proxy::start(registry.host(), RTT).await?;
    let service = Service::start_at(&listen, &options.binary, SQLITE, &proxy.host(), RULE).await?;
    let new: Vec<String> = (0..ROUNDS).map(|round| format!("r{round}")).collect();
    let mut is_kept = true;
    for (what, tags) in [("new versions", new), ("images pushed again", vec!["again".to_owned(); ROUNDS])] {
        let (mut times, mut rounds) = (Vec::new(), 0);
        for tag in &tags {
            // What comes before opens the connections.
            registry.push_image(&format!("acme/ubuntu:amd64-{tag}"), "linux/amd64").await;
            sleep(Duration::from_secs(1)).await;
            if registry.digest(&format!("acme/ubuntu:{tag}")).await.is_some() {
                service.settle().await?;
            }
            proxy.take_seen();
            times.push(push_last(&registry, &service, tag).await?);
            rounds = rounds.max(proxy.take_seen().rounds_to(&format!("PUT /v2/acme/ubuntu/manifests/{tag}"), RTT));
        }
        times.sort_unstable();
        let bound = 3.0 * ms(RTT) + 150.0;
        is_kept &= at_most(&format!("{what}: most rounds until the tag was written"), "", rounds as f64, 3.0);
        is_kept &= at_most(&format!("{what}: there after, median of 20"), "ms", ms(times[ROUNDS / 2]), bound);
    }
    Ok(is_kept)
}

/// How long it takes from the answered push of a version's last image until its plain tag is there.
async fn push_last(registry: &RealRegistry, service: &Service, tag: &str) -> Result<Duration> {
    let plain = format!("acme/ubuntu:{tag}");
    let before = registry.digest(&plain).await;
    let client = reqwest::Client::builder().no_proxy().build()?;
    registry.push_image(&format!("acme/ubuntu:arm64-{tag}"), "linux/arm64/v8").await;
    let pushed = Instant::now();
    let url = format!("http://{}/v2/acme/ubuntu/manifests/{tag}", registry.host());
    loop {
        let answer = client.head(&url).header("Accept", OCI_INDEX).send().await?;
        let digest = answer.headers().get("docker-content-digest").and_then(|digest| digest.to_str().ok());
        if answer.status() == StatusCode::OK && digest != before.as_deref() {
            return Ok(pushed.elapsed());
        }
        if pushed.elapsed() > LIMIT {
            return Err(format!("the plain tag was not published:\n{}", service.log()).into());
        }
        sleep(PAUSE).await;
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn notifications(listen: &str) -> String {
    format!(
        "notifications:\n  endpoints:\n    - name: onetag\n      url: http://{listen}/hooks/prod\n      \
         headers:\n        Authorization: [\"{SECRET}\"]\n      timeout: 5s\n      threshold: 5\n      backoff: 5s\n      \
         ignore:\n        mediatypes: [application/octet-stream]\n        actions: [pull, mount, delete]\n"
    )
}
