//! A server that lets in only whom its rules name, and the files to convince it with.

use std::path::PathBuf;

use onetag::store::{Store, StoreError};
use tempfile::TempDir;

use crate::support::Postgres;
use crate::support::postgres::{connect, execute};
use crate::support::tls::Ca;

pub(super) const PASSWORD: &str = "database-canary-40d2 /@:";
/// The same in an address.
pub(super) const ESCAPED: &str = "database-canary-40d2%20%2F%40%3A";

/// A server that wants TLS of everybody but its owner, and a password or a certificate.
pub(super) struct Strict {
    pub(super) server: Postgres,
    folder: TempDir,
}

impl Strict {
    pub(super) async fn start() -> Strict {
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

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An address with a user, a host, and what follows the database's name.
    pub(super) fn address(&self, user: &str, host: &str, rest: &str) -> String {
        let database = if user.starts_with("robot") { "robot" } else { "onetag" };
        let rest = rest.replace("FOLDER", self.folder.path().to_str().unwrap());
        format!("postgres://{user}@{host}:{}/{database}{rest}", self.server.port())
    }

    pub(super) async fn open(&self, user: &str, host: &str, rest: &str) -> Result<Store, StoreError> {
        Store::open(&self.address(user, host, rest)).await
    }
}
