//! The last moment before a write: nothing is sent without the word of whoever gave the lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use onetag::model::Index;
use onetag::registry::{Access, Gate, Permission, Registry, RegistryError, Settings};

use crate::support::image::OCI_INDEX;
use crate::support::{FakeRegistry, Play, When};

struct Scene {
    fake: FakeRegistry,
    index: Index,
}

impl Scene {
    async fn set() -> Scene {
        let fake = FakeRegistry::start().await;
        fake.push_image("acme/app:amd64-v1", "linux/amd64");
        fake.push_index("acme/app:elsewhere", &["acme/app:amd64-v1"]);
        let bytes = fake.manifest("acme/app:elsewhere").unwrap().bytes.to_vec();
        Scene { fake, index: Index::written_before(OCI_INDEX, bytes).unwrap() }
    }

    /// Writes the index under `v1` if the gate says so, and returns how often it was asked.
    async fn put(&self, ask: impl Fn() -> Permission + Send + Sync + 'static) -> (Result<(), RegistryError>, usize) {
        let settings = Settings { plain_http: true, ..Settings::new(Access::Publish) };
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let gate = Gate::new(Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            let permission = ask();
            Box::pin(async move { permission })
        }));
        let registry = Registry::new(&self.fake.host().parse().unwrap(), settings).unwrap().gated(gate);
        let repository = self.fake.repository("acme/app").parse().unwrap();
        let result = registry.put_index(&repository, &"v1".parse().unwrap(), &self.index).await;
        (result, asked.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn nothing_is_sent_once_the_lease_is_lost_or_its_time_is_over() {
    let scene = Scene::set().await;
    let (result, _) = scene.put(|| Err("the lease was lost".to_owned())).await;
    let error = result.expect_err("it is not sent");
    assert!(matches!(error, RegistryError::NotSent { .. }), "{error}");
    assert!(error.to_string().ends_with("/manifests/v1 was not sent: the lease was lost"), "{error}");

    let (result, _) = scene.put(|| Ok(Instant::now())).await;
    assert!(matches!(result, Err(RegistryError::TimedOut { .. })), "{result:?}");
    assert_eq!(scene.fake.writes(), 0);

    let (result, asked) = scene.put(|| Ok(Instant::now() + Duration::from_secs(30))).await;
    result.expect("it may");
    assert_eq!((scene.fake.writes(), asked), (1, 1));
}

#[tokio::test]
async fn each_repetition_is_asked_for_anew() {
    let scene = Scene::set().await;
    scene.fake.on(When::any().containing("manifests/v1").once(), Play::status(503));
    let count = AtomicUsize::new(0);
    let (result, asked) = scene
        .put(move || match count.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(Instant::now() + Duration::from_secs(30)),
            _ => Err("the lease was lost".to_owned()),
        })
        .await;
    assert!(matches!(result, Err(RegistryError::NotSent { .. })), "{result:?}");
    assert_eq!((scene.fake.writes(), asked), (1, 2), "the first was refused, the second never sent");
}
