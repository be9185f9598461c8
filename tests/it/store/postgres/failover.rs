//! A standby takes over: what was acknowledged is there, and whoever had a job has it still.

use std::collections::BTreeSet;

use onetag::store::{Act, End, List, Store, StoreError};

use super::super::{HOUR, claim_one, deliver_at_last, entry, tag, ubuntu, wake};
use crate::support::{Postgres, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_takes_over_has_everything_that_was_acknowledged() {
    let primary = Postgres::start(&["fsync = on"]);
    let address = primary.database().await;
    let standby = primary.standby().await;
    let servers = |first: u16, second: u16| {
        let both = format!("127.0.0.1:{first},127.0.0.1:{second}/");
        address.replace(&format!("127.0.0.1:{}/", primary.port()), &both) + "?target_session_attrs=read-write"
    };
    // Whichever is named first.
    let one = Store::open(&servers(primary.port(), standby.port())).await.unwrap();
    let two = Store::open(&servers(standby.port(), primary.port())).await.unwrap();
    deliver_at_last(&one, vec![wake("before")]).await;
    let before = claim_one(&two).await;

    // Deliveries go on as senders make them: again, if they were refused.
    let deliveries = (0..40).map(|n| {
        let store = if n % 2 == 0 { one.clone() } else { two.clone() };
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(25 * n)).await;
            let text = format!("v{n}");
            let mut refused = 0;
            while let Err(error) = store.accept(vec![wake(&text)]).await {
                assert!(matches!(error, StoreError::Unreachable { .. } | StoreError::Slow), "{error}");
                refused += 1;
                assert!(refused < 60, "{error}");
            }
            text
        })
    });
    let deliveries: Vec<_> = deliveries.collect();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    primary.down();
    standby.promote();
    let mut acknowledged = BTreeSet::new();
    for delivery in deliveries {
        acknowledged.insert(delivery.await.unwrap());
    }

    eventually("the lease is still held", async || two.extend(&before, HOUR).await.ok().filter(|is_held| *is_held))
        .await;
    assert!(one.reserve_tag(&ubuntu(), &tag("before"), HOUR).await.unwrap().is_none());
    assert!(two.finish(&before, End::Done, Some(entry(Act::Pushed, "x"))).await.unwrap());
    assert_eq!(one.history(None, None, 10, None).await.unwrap().len(), 1);
    let jobs = one.jobs(List::Active, 1000).await.unwrap();
    let there: BTreeSet<String> = jobs.iter().map(|job| job.tag.to_string()).collect();
    assert_eq!(there, acknowledged);
}
