//! Behind the load balancer of docker/, with its own configuration.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::{Replica, registry};
use crate::support::real::free_address;
use crate::support::service::{HOOK_SECRET, delivery};
use crate::support::{FakeRegistry, Postgres, eventually};

/// HAProxy as Debian packages it, until this is dropped.
struct Balancer {
    child: Child,
    deliveries: String,
    operators: String,
    _folder: TempDir,
}

impl Balancer {
    /// What docker/haproxy.cfg says, but for the addresses: there are no names here.
    fn start(replicas: &[Replica]) -> Balancer {
        let [deliveries, operators] = [free_address(), free_address()];
        let lines = include_str!("../../../docker/haproxy.cfg").lines().map(|line| match line.trim() {
            "bind :8470" => format!("    bind {deliveries}"),
            "bind :8471" => format!("    bind {operators}"),
            line if line.starts_with("server-template") => servers(replicas, line.contains(":8471")),
            _ => line.to_owned(),
        });
        let folder = TempDir::new().expect("a folder");
        let config = folder.path().join("haproxy.cfg");
        std::fs::write(&config, lines.collect::<Vec<_>>().join("\n") + "\n").expect("a configuration");
        let mut haproxy = Command::new("/usr/sbin/haproxy");
        let haproxy = haproxy.arg("-db").arg("-f").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = haproxy.spawn().expect("Debian's package `haproxy`");
        Balancer { child, deliveries, operators, _folder: folder }
    }
}

/// Each as docker/haproxy.cfg asks for it.
fn servers(replicas: &[Replica], is_admin: bool) -> String {
    let server = |(number, replica): (usize, &Replica)| {
        let port = replica.listen.rsplit(':').next().expect("a port");
        let address = if is_admin { &replica.admin } else { &replica.listen };
        format!("    server onetag-{number} {address} check port {port} inter 2s fall 2 rise 1")
    };
    replicas.iter().enumerate().map(server).collect::<Vec<_>>().join("\n")
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends deliveries one after another until told; each is told once, as a sender does that gives up.
async fn send(address: String, registry: Arc<FakeRegistry>, is_over: Arc<AtomicBool>, sent: Arc<AtomicUsize>) {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("an HTTP client");
    while !is_over.load(Ordering::SeqCst) {
        let number = sent.load(Ordering::SeqCst);
        let [digest, _] = ["amd64", "arm64"]
            .map(|word| registry.push_image(&format!("acme/app:{word}-v{number}"), &format!("linux/{word}")));
        let request = client.post(format!("http://{address}/hooks/main")).header("Authorization", HOOK_SECRET);
        let body = delivery("acme/app", &format!("amd64-v{number}"), &digest).to_string();
        let answer = request.body(body).send().await.expect("the balancer answers");
        assert_eq!(answer.status().as_u16(), 202, "delivery {number}");
        sent.store(number + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_restarted_one_by_one_and_senders_notice_nothing() {
    let registry = Arc::new(registry().start().await);
    let database = Postgres::shared().database().await;
    let rule = "require = [\"amd64\", \"arm64\"]\nquiet = \"0s\"\npoll = \"6h\"";
    let replicas: Vec<Replica> = (0..3).map(|number| Replica::new(number, &database, &registry, "", rule)).collect();
    futures_util::future::join_all(replicas.iter().map(Replica::start)).await;
    let balancer = Balancer::start(&replicas);
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("an HTTP client");
    for address in [format!("{}/readyz", balancer.deliveries), format!("{}/api/v1/jobs", balancer.operators)] {
        eventually("the balancer has found a replica", async || {
            client.get(format!("http://{address}")).send().await.ok().filter(|it| it.status().is_success())
        })
        .await;
    }

    let (is_over, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let sending = tokio::spawn(send(balancer.deliveries.clone(), registry.clone(), is_over.clone(), sent.clone()));
    for replica in &replicas {
        let before = sent.load(Ordering::SeqCst);
        replica.stop().await;
        eventually("deliveries go on without it", async || (sent.load(Ordering::SeqCst) >= before + 5).then_some(()))
            .await;
        replica.start().await;
    }
    is_over.store(true, Ordering::SeqCst);
    sending.await.expect("every delivery was acknowledged");
    eventually("every tag is published", async || {
        let is_there = |number| registry.platforms(&format!("acme/app:v{number}")).len() == 2;
        (0..sent.load(Ordering::SeqCst)).all(is_there).then_some(())
    })
    .await;
}
