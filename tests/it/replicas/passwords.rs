//! Where the database's password comes from, when it is read, and that it is never shown.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use super::strict::{ESCAPED, PASSWORD, Strict};
use crate::support::postgres::{connect, execute};
use crate::support::real::free_address;
use crate::support::{eventually, onetag};

/// Ways to hand over a password; each must be enough, and seen nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_comes_from_wherever_it_is_kept_and_is_not_shown() {
    let strict = Strict::start().await;
    let url = strict.address("onetag", "localhost", "");
    let table = |password: &str| format!("database = {{ url = \"{url}\", password = {password} }}");
    std::fs::write(strict.path("password"), format!("{PASSWORD}\n")).unwrap();
    // Somebody forgot the database.
    let malformed = "localhost:5432:onetag:malformed-canary";
    let pgpass = format!("{malformed}\nlocalhost:*:onetag:onetag:{}\n", PASSWORD.replace(':', "\\:"));
    for (way, database) in [
        ("env", table("{ env = \"THE_PASSWORD\" }")),
        ("file", table(&format!("{{ file = \"{}\" }}", strict.path("password").display()))),
        ("url", format!("database = \"{}\"", strict.address(&format!("onetag:{ESCAPED}"), "localhost", ""))),
        ("PGPASSWORD", format!("database = \"{url}\"")),
        ("pgpass", format!("database = \"{url}\"")),
    ] {
        let folder = TempDir::new().unwrap();
        let text = format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n{database}\n\
             [[repository]]\nregistry = \"127.0.0.1:9\"\nname = \"acme/*\"\n"
        );
        std::fs::write(folder.path().join("onetag.toml"), text).unwrap();
        let cli = |more: &[&str]| {
            let cli = onetag(["serve", "--config", "onetag.toml"]).args(more).directory(folder.path());
            private_file(&folder.path().join("pgpass"), &pgpass);
            let cli = cli.env("RUST_LOG", "trace").env("THE_PASSWORD", PASSWORD);
            let cli = cli.env("PGPASSFILE", folder.path().join("pgpass"));
            if way == "PGPASSWORD" { cli.env("PGPASSWORD", PASSWORD) } else { cli }
        };
        let checked = cli(&["--check"]).run().await.expect(0);
        let running = cli(&[]).spawn();
        running.wait_for("Listening for deliveries").await;
        running.signal("TERM").await;
        let ran = running.wait().await.expect(0);
        let is_told = ran.stderr.contains("line 1 of") && ran.stderr.contains("host:port:database:user:password");
        assert_eq!(is_told, way == "pgpass", "{way}: {}", ran.stderr);
        for text in [checked.stdout, checked.stderr, ran.stdout, ran.stderr] {
            assert!(!text.contains("canary"), "{way}: {text}");
        }
    }
}

/// Rotated: the server has a new password, and the file has it, too. What is connected stays so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_was_changed_is_read_again_without_a_restart() {
    let strict = Strict::start().await;
    let url = strict.address("onetag", "localhost", "");
    let mut db = connect(&strict.server.address("postgres")).await;
    for way in ["file", "pgpass"] {
        let (folder, listen) = (TempDir::new().unwrap(), free_address());
        let keep = |password: &str| {
            private_file(&folder.path().join("password"), &format!("{password}\n"));
            private_file(&folder.path().join("pgpass"), &format!("*:*:onetag:onetag:{password}\n"));
        };
        keep("first-canary");
        execute(&mut db, "ALTER ROLE onetag PASSWORD 'first-canary'").await;
        let password = if way == "file" { ", password = { file = \"password\" }" } else { "" };
        let text = format!(
            "listen = \"{listen}\"\nadmin = \"127.0.0.1:0\"\ndatabase = {{ url = \"{url}\"{password} }}\n\
             [[repository]]\nregistry = \"127.0.0.1:9\"\nname = \"acme/*\"\n"
        );
        std::fs::write(folder.path().join("onetag.toml"), text).unwrap();
        let cli = onetag(["serve", "--config", "onetag.toml"]).directory(folder.path());
        let running = cli.env("PGPASSFILE", folder.path().join("pgpass")).spawn();
        running.wait_for("Listening for deliveries").await;
        let is_ready = async || {
            let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
            let answer = client.get(format!("http://{listen}/readyz")).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        eventually("it is ready", async || is_ready().await.then_some(())).await;

        execute(&mut db, "ALTER ROLE onetag PASSWORD 'second-canary'").await;
        eventually("it cannot log in", async || {
            // Again and again: who was about to log in is not listed yet.
            let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'onetag'";
            execute(&mut connect(&strict.server.address("postgres")).await, all).await;
            (!is_ready().await).then_some(())
        })
        .await;
        keep("second-canary");
        eventually("it has read the new password", async || is_ready().await.then_some(())).await;
        running.signal("HUP").await;
        running.wait_for("Read onetag.toml again").await;
        running.signal("TERM").await;
        let ran = running.wait().await.expect(0);
        assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("changes with the next start"), "{}", ran.stderr);
    }
}

fn private_file(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
