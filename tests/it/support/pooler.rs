//! PgBouncer as Debian packages it: between transactions, a client has no connection of its own.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::postgres::{Postgres, as_user, run};
use super::real::free_address;

/// Where Debian's package `pgbouncer` puts it.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A pooler in transaction mode, with fewer connections than it has clients.
pub struct Pooler {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Pooler {
    /// In front of `server`.
    pub fn start(server: &Postgres) -> Pooler {
        let folder = TempDir::with_prefix("onetag-pooler-").expect("a folder");
        let port = free_address().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
        let config = folder.path().join("pgbouncer.ini");
        let lines = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\nauth_file = /dev/null\npool_mode = transaction\ndefault_pool_size = 3\n\
             max_client_conn = 500\n",
            server.port()
        );
        // With `any`, everybody is who the server is asked for.
        let lines = lines.replace("port=", "user=postgres port=");
        std::fs::write(&config, lines).expect("a configuration");
        let user = server.user();
        if let Some(user) = user {
            run(Command::new("chown").arg("-R").arg(user).arg(folder.path()));
        }
        let mut command = as_user(user, PROGRAM);
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let command = command.arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let pooler = Pooler { child: command.spawn().expect("Debian's package `pgbouncer`"), port, _folder: folder };
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = std::fs::read_to_string(pooler._folder.path().join("log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(20), "{PROGRAM} does not start: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        pooler
    }

    /// How many connections clients have made by now.
    pub fn logins(&self) -> usize {
        let log = std::fs::read_to_string(self._folder.path().join("log")).expect("a log");
        log.matches("login attempt").count()
    }

    /// The same database as `address` has, through the pooler.
    pub fn address(&self, address: &str) -> String {
        let database = address.rsplit('/').next().expect("a database");
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
