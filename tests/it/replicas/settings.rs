//! How a server is reached: passwords, TLS, and what is never shown of them.

use std::path::PathBuf;

use onetag::store::{Store, StoreError};
use tempfile::TempDir;

use crate::support::postgres::{connect, execute};
use crate::support::tls::Ca;
use crate::support::{Postgres, onetag};

const PASSWORD: &str = "database-canary-40d2 /@:";
/// The same in an address.
const ESCAPED: &str = "database-canary-40d2%20%2F%40%3A";

/// A server that wants TLS of everybody but its owner, and a password or a certificate.
struct Strict {
    server: Postgres,
    folder: TempDir,
}

impl Strict {
    async fn start() -> Strict {
        let (ca, other) = (Ca::new("the database's"), Ca::new("somebody else's"));
        let (own, client) = (ca.issue("localhost"), ca.issue("robot"));
        let ssl = ["ssl = on", "ssl_cert_file = 'server.crt'", "ssl_key_file = 'server.key'", "ssl_ca_file = 'ca.crt'"];
        let files = [
            ("server.crt", own.certificate_pem.as_str()),
            ("server.key", own.key_pem.as_str()),
            ("ca.crt", ca.certificate_pem.as_str()),
        ];
        let server = Postgres::start_with(&ssl, &files);
        let mut db = connect(&server.address("postgres")).await;
        execute(&mut db, format!("CREATE ROLE onetag LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE robot LOGIN")).await;
        execute(&mut db, "CREATE ROLE guest LOGIN PASSWORD 'guest'").await;
        execute(&mut db, "CREATE DATABASE onetag OWNER onetag").await;
        execute(&mut db, "CREATE DATABASE robot OWNER robot").await;
        execute(&mut connect(&server.address("onetag")).await, "REVOKE ALL ON SCHEMA public FROM PUBLIC").await;
        server.admit("hostssl all onetag all scram-sha-256\nhostssl all guest all scram-sha-256\nhostssl all robot all trust clientcert=verify-ca\nhost all onetag,guest,robot all reject");
        let folder = TempDir::new().unwrap();
        for (name, content) in [
            ("ca.crt", &ca.certificate_pem),
            ("other.crt", &other.certificate_pem),
            ("robot.crt", &client.certificate_pem),
            ("robot.key", &client.key_pem),
        ] {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        Strict { server, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An address with a user, a host, and what follows the database's name.
    fn address(&self, user: &str, host: &str, rest: &str) -> String {
        let database = if user.starts_with("robot") { "robot" } else { "onetag" };
        let rest = rest.replace("FOLDER", self.folder.path().to_str().unwrap());
        format!("postgres://{user}@{host}:{}/{database}{rest}", self.server.port())
    }

    async fn open(&self, user: &str, host: &str, rest: &str) -> Result<Store, StoreError> {
        Store::open(&self.address(user, host, rest)).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_as_strict_as_the_address_says() {
    let strict = Strict::start().await;
    let me = format!("onetag:{ESCAPED}");
    for good in [
        "",
        "?sslmode=prefer",
        "?sslmode=require",
        "?sslmode=verify-ca&sslrootcert=FOLDER/ca.crt",
        "?sslmode=verify-full&sslrootcert=FOLDER/ca.crt",
    ] {
        strict.open(&me, "localhost", good).await.expect(good);
    }
    strict.open(&me, "127.0.0.1", "?sslmode=verify-ca&sslrootcert=FOLDER/ca.crt").await.expect("another name");
    for bad in [
        "?sslmode=disable",
        "?sslmode=verify-ca",
        "?sslmode=verify-full&sslrootcert=FOLDER/other.crt",
        "?sslmode=require&sslrootcert=FOLDER/other.crt",
    ] {
        strict.open(&me, "localhost", bad).await.expect_err(bad);
    }
    let full = "?sslmode=verify-full&sslrootcert=FOLDER/ca.crt";
    strict.open(&me, "127.0.0.1", full).await.expect_err("it is not the name in the certificate");

    let certificate = "?sslmode=verify-full&sslrootcert=FOLDER/ca.crt&sslcert=FOLDER/robot.crt&sslkey=FOLDER/robot.key";
    strict.open("robot", "localhost", certificate).await.expect("a certificate instead of a password");
    strict.open("robot", "localhost", full).await.expect_err("no certificate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_is_refused_says_why_and_not_how() {
    let strict = Strict::start().await;
    let error = strict.open("onetag:wrong-canary", "localhost", "").await.expect_err("a wrong password");
    let text = format!("{error}\n{}\n{error:?}", error.hint().unwrap_or_default());
    assert!(matches!(error, StoreError::Login { .. }), "{text}");
    assert!(text.contains("password authentication failed for user") && !text.contains("canary"), "{text}");

    let error = strict.open("guest:guest", "localhost", "").await.expect_err("it may make nothing there");
    assert!(matches!(error, StoreError::NotAllowed { .. }), "{error}");
    assert_eq!(error.hint(), Some("the user must own the schema `onetag`, or be allowed to make it"));
}

/// Ways to hand over a password; each must be enough, and seen nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_comes_from_wherever_it_is_kept_and_is_not_shown() {
    let strict = Strict::start().await;
    let url = strict.address("onetag", "localhost", "");
    let table = |password: &str| format!("database = {{ url = \"{url}\", password = {password} }}");
    std::fs::write(strict.path("password"), format!("{PASSWORD}\n")).unwrap();
    let pgpass = format!("localhost:*:onetag:onetag:{}\n", PASSWORD.replace(':', "\\:"));
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
            let cli = cli.env("RUST_LOG", "trace").env("THE_PASSWORD", PASSWORD);
            match way {
                "PGPASSWORD" => cli.env("PGPASSWORD", PASSWORD),
                "pgpass" => {
                    std::fs::write(folder.path().join("pgpass"), &pgpass).unwrap();
                    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                    std::fs::set_permissions(folder.path().join("pgpass"), mode).unwrap();
                    cli.env("PGPASSFILE", folder.path().join("pgpass"))
                }
                _ => cli,
            }
        };
        let checked = cli(&["--check"]).run().await.expect(0);
        let running = cli(&[]).spawn();
        running.wait_for("Listening for deliveries").await;
        running.signal("TERM").await;
        let ran = running.wait().await.expect(0);
        for text in [checked.stdout, checked.stderr, ran.stdout, ran.stderr] {
            assert!(!text.contains("canary"), "{way}: {text}");
        }
    }
}
