//! PgBouncer as Debian packages it: between transactions, a client has no connection of its own.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::postgres::{Postgres, as_user, run};
use super::real::free_port;

/// Where Debian's package `pgbouncer` puts it.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A pooler in transaction mode, with fewer connections than it has clients, which it takes in turn.
pub struct Pooler {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Pooler {
    /// In front of `server`.
    pub fn start(server: &Postgres) -> Pooler {
        Pooler::with_connections(server, 3)
    }

    /// The same with so many connections to a database at most.
    pub fn with_connections(server: &Postgres, count: usize) -> Pooler {
        // Another process may have taken the port meanwhile.
        let started = (0..5).find_map(|_| Pooler::try_start(server, free_port(), count));
        started.expect("Debian's package `pgbouncer` starts on some port")
    }

    fn try_start(server: &Postgres, port: u16, count: usize) -> Option<Pooler> {
        let folder = TempDir::with_prefix("onetag-pooler-").expect("a folder");
        let config = folder.path().join("pgbouncer.ini");
        // With `any`, everybody is who the server is asked for.
        let lines = format!(
            "[databases]
* = host=127.0.0.1 user=postgres port={}
[pgbouncer]
listen_addr = 127.0.0.1
\
             listen_port = {port}
unix_socket_dir =
auth_type = any
auth_file = /dev/null
pool_mode = transaction
\
             default_pool_size = {count}
max_client_conn = 500
server_round_robin = 1
",
            server.port()
        );
        std::fs::write(&config, lines).expect("a configuration");
        let user = server.user();
        if let Some(user) = user {
            run(Command::new("chown").arg("-R").arg(user).arg(folder.path()));
        }
        let mut command = as_user(user, PROGRAM);
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let command = command.arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut pooler = Pooler { child: command.spawn().expect("Debian's package `pgbouncer`"), port, folder };
        let started = Instant::now();
        while !pooler.log().contains(&format!("listening on 127.0.0.1:{port}")) {
            if pooler.child.try_wait().expect("a process").is_some() {
                return None;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{PROGRAM} does not start: {}", pooler.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(pooler)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }

    /// How many connections clients have made by now.
    pub fn logins(&self) -> usize {
        self.log().matches("login attempt").count()
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
