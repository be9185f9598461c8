//! How a server is reached: TLS, and what is said where it is refused.

use std::time::Duration;

use onetag::store::StoreError;
use tempfile::TempDir;

use super::strict::{ESCAPED, Strict};
use crate::support::cli::Cli;
use crate::support::onetag;

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
    for bad in [
        "?sslmode=disable",
        "?sslmode=verify-ca",
        "?sslmode=verify-full&sslrootcert=FOLDER/other.crt",
        "?sslmode=require&sslrootcert=FOLDER/other.crt",
    ] {
        strict.open(&me, "localhost", bad).await.expect_err(bad);
    }
    // Public CAs are trusted, too, and those sign any name for whoever has it.
    for mode in ["require", "verify-ca", "verify-full"] {
        let checked = format!("?sslmode={mode}&sslrootcert=FOLDER/ca.crt");
        let error = strict.open(&me, "127.0.0.1", &checked).await.expect_err("it is not the name in the certificate");
        let text = format!("{error}\nhint: {}", error.hint().unwrap_or_default());
        let text = text.replace(&strict.server.port().to_string(), "5432");
        insta::allow_duplicates! { insta::assert_snapshot!(text, @r#"
        `postgres://127.0.0.1:5432/onetag` could not prove who it is: invalid peer certificate: certificate not valid for name "127.0.0.1"; certificate is only valid for DnsName("localhost")
        hint: the certificate must name the host and be signed by `sslrootcert` or a public CA; `require` and `verify-ca` with `sslrootcert` ask for the name, too
        "#) };
    }
    let full = "?sslmode=verify-full&sslrootcert=FOLDER/ca.crt";

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

/// What a machine's variables say counts as what an address says, and where libpq would be content
/// with less, it is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_is_taken_as_strictly_as_the_address() {
    let strict = Strict::start().await;
    let address = |rest: &str| strict.address(&format!("onetag:{ESCAPED}"), "localhost", rest);
    let run = async |address: String, name: &str, value: &str, more: &[&str]| {
        let value = value.replace("FOLDER", strict.path("").to_str().unwrap());
        let (folder, cli) = serve(&address, more);
        let running = cli.env(name, value).spawn();
        let ran = tokio::time::timeout(Duration::from_secs(30), running.wait()).await.expect("it ends");
        drop(folder);
        ran
    };
    let ran = run(address("?sslmode=require"), "PGSSLROOTCERT", "FOLDER/other.crt", &[]).await.expect(3);
    assert!(ran.stderr.contains("could not prove who it is"), "{}", ran.stderr);

    for (name, value, expected) in [
        ("PGSSLMODE", "allow", "PGSSLMODE` is `allow`: expected disable, prefer, require, verify-ca, verify-full"),
        ("PGSSLROOTCERT", "FOLDER/none.crt", "none.crt, which cannot be read: No such file or directory"),
        ("PGSSLROOTCERT", "FOLDER/robot.key", "robot.key, which holds no certificate in PEM"),
    ] {
        for more in [&["--check"], &[][..]] {
            let started = std::time::Instant::now();
            let ran = run(address(""), name, value, more).await.expect(3);
            assert!(ran.stderr.contains(expected) && ran.stderr.contains(name), "{}", ran.stderr);
            assert!(started.elapsed() < Duration::from_secs(8), "nothing was waited for: {value}");
        }
    }
    for (parameter, expected) in [
        ("sslrootcert=FOLDER/none.crt", "`sslrootcert` names FOLDER/none.crt, which cannot be read"),
        ("sslcert=FOLDER/none.crt", "`sslcert` names FOLDER/none.crt, which cannot be read"),
        ("sslkey=FOLDER/ca.crt", "`sslkey` names FOLDER/ca.crt, which holds no private key in PEM"),
    ] {
        let ran = run(address(&format!("?sslmode=verify-full&{parameter}")), "X", "", &["--check"]).await.expect(3);
        let expected = expected.replace("FOLDER", strict.path("").to_str().unwrap().trim_end_matches('/'));
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
    }
}

/// `onetag serve` on this database, in a folder that lasts as long as what is returned.
fn serve(address: &str, more: &[&str]) -> (TempDir, Cli) {
    let folder = TempDir::new().unwrap();
    let text = format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ndatabase = \"{address}\"\n\
         [[repository]]\nregistry = \"127.0.0.1:9\"\nname = \"acme/*\"\n"
    );
    std::fs::write(folder.path().join("onetag.toml"), text).unwrap();
    let cli = onetag(["serve", "--config", "onetag.toml"]).args(more).directory(folder.path());
    (folder, cli)
}
