//! Where the database's password comes from, when it is read, and that it is never shown.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use super::strict::{ESCAPED, PASSWORD, Strict};
use crate::support::onetag;

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

fn private_file(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
