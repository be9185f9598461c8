//! PostgreSQL as Debian packages it, on a free port and with a folder of its own.
//!
//! It refuses to be run by root, so it is run by its own user then. A process beside it waits for
//! the end of the test process, and ends and removes whatever is left.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::{ConnectOptions as _, PgConnection};
use tempfile::TempDir;

use super::real::free_port;

/// A server that is running.
pub struct Postgres {
    folder: PathBuf,
    port: u16,
    user: Option<String>,
    /// Ends the server once its input ends.
    watch: Child,
}

impl Postgres {
    /// The server that all stories of this process share, each with a database of its own.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Postgres::start(&[]))
    }

    /// A server of the caller's own, with further lines of its configuration.
    pub fn start(settings: &[&str]) -> Postgres {
        Postgres::start_with(settings, &[])
    }

    /// The same, with files beside its data that are for its eyes only.
    pub fn start_with(settings: &[&str], files: &[(&str, &str)]) -> Postgres {
        let folder = TempDir::with_prefix("onetag-postgres-").expect("a folder").keep();
        let user = is_root().then(|| "postgres".to_owned());
        if let Some(user) = &user {
            run(Command::new("chown").arg(user).arg(&folder));
        }
        let data = folder.join("data");
        let mut initdb = command(user.as_deref(), "initdb");
        run(initdb
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data));
        // The stories are about what the server was told, not about its disk.
        let mut lines = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nfsync = off\n\
             max_connections = 300\nshared_buffers = 64MB\n",
            folder.display()
        );
        lines.extend(settings.iter().flat_map(|line| [line, "\n"]));
        append(&data.join("postgresql.conf"), &lines);
        for (name, content) in files {
            use std::os::unix::fs::PermissionsExt as _;
            let path = data.join(name);
            std::fs::write(&path, content).expect("a file");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
            if let Some(user) = &user {
                run(Command::new("chown").arg(user).arg(&path));
            }
        }
        Postgres::run_in(folder, user)
    }

    /// A copy of it that follows it, and that it waits for with every commit.
    pub async fn standby(&self) -> Postgres {
        let folder = TempDir::with_prefix("onetag-postgres-").expect("a folder").keep();
        if let Some(user) = &self.user {
            run(Command::new("chown").arg(user).arg(&folder));
        }
        let data = folder.join("data");
        let mut copy = command(self.user(), "pg_basebackup");
        let copy = copy.args(["-h", "127.0.0.1", "-U", "postgres", "-R", "--no-sync", "--checkpoint=fast", "-p"]);
        run(copy.arg(self.port.to_string()).arg("-D").arg(&data));
        let lines = format!("unix_socket_directories = '{}'\n", folder.display());
        append(&data.join("postgresql.conf"), &lines);
        let standby = Postgres::run_in(folder, self.user.clone());
        let mut db = connect(&self.address("postgres")).await;
        execute(&mut db, "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
        execute(&mut db, "ALTER SYSTEM SET synchronous_commit = 'remote_apply'").await;
        execute(&mut db, "SELECT pg_reload_conf()").await;
        super::eventually("it is waited for", async || {
            let asked = sqlx::query_scalar("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'");
            let count: i64 = asked.fetch_one(&mut connect(&self.address("postgres")).await).await.ok()?;
            (count == 1).then_some(())
        })
        .await;
        standby
    }

    /// Makes a standby a server of its own.
    pub fn promote(&self) {
        run(self.control().args(["-w", "-t", "60", "promote"]));
    }

    /// Starts what is in a folder, and sees to it that it ends with this process.
    fn run_in(folder: PathBuf, user: Option<String>) -> Postgres {
        let data = folder.join("data");
        let pg_ctl = program("pg_ctl");
        let script = format!(
            "trap '' HUP INT TERM; cat >/dev/null; {} -D '{}' -m immediate stop; rm -rf '{}'",
            pg_ctl.display(),
            data.display(),
            folder.display()
        );
        let mut watch = as_user(user.as_deref(), "sh");
        let watch = watch.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let watch = watch.current_dir("/").spawn().expect("a shell");
        let mut postgres = Postgres { folder, port: 0, user, watch };
        // Another process may take a port before the server does.
        for _ in 0..5 {
            postgres.port = free_port();
            append(&data.join("postgresql.conf"), &format!("port = {}\n", postgres.port));
            if postgres.start_again().is_ok() {
                return postgres;
            }
        }
        let log = std::fs::read_to_string(postgres.folder.join("log")).unwrap_or_default();
        panic!("PostgreSQL does not start: {log}");
    }

    /// Starts it again, after [`Postgres::down`].
    pub fn up(&self) {
        self.start_again().unwrap_or_else(|told| panic!("{told}"));
    }

    fn start_again(&self) -> Result<(), String> {
        let log = self.folder.join("log");
        try_to_run(self.control().args(["-w", "-t", "60", "-l"]).arg(log).arg("start"))
    }

    /// Ends it as a crash would: what was not committed is gone.
    pub fn down(&self) {
        run(self.control().args(["-m", "immediate", "stop"]));
    }

    /// Lets it read its configuration again, after `lines` were put before the rules of who may log in.
    pub fn admit(&self, lines: &str) {
        let path = self.data().join("pg_hba.conf");
        let rest = std::fs::read_to_string(&path).expect("the rules");
        std::fs::write(&path, format!("{lines}\n{rest}")).expect("the rules");
        run(self.control().arg("reload"));
    }

    fn control(&self) -> Command {
        let mut command = command(self.user.as_deref(), "pg_ctl");
        command.arg("-D").arg(self.data());
        command
    }

    /// Where its data is.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Whose process it is, if it had to be somebody else's.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of one of its databases.
    pub fn address(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The address of a new, empty database.
    pub async fn database(&self) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("story_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut db = connect(&self.address("postgres")).await;
        execute(&mut db, format!("CREATE DATABASE {name}")).await;
        self.address(&name)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

/// Another client of a database. A pooler refuses what it does not know, so nothing is asked of it.
pub async fn connect(address: &str) -> PgConnection {
    let options: sqlx::postgres::PgConnectOptions = address.parse().expect("an address");
    options.extra_float_digits(None).disable_statement_logging().connect().await.expect("it connects")
}

/// Runs statements that the story is made of.
pub async fn execute(db: &mut PgConnection, sql: impl Into<String>) {
    let sql = sql.into();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone())).execute(db).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id");
    id.stdout == b"0\n"
}

/// A program of the newest server that is installed.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("Debian's package `postgresql`");
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.expect("a folder").path().join("bin").join(name)).collect();
    found.sort();
    found.pop().expect("a version of the package `postgresql`")
}

fn command(user: Option<&str>, name: &str) -> Command {
    let mut command = as_user(user, program(name).to_str().expect("a path of text"));
    command.current_dir("/");
    command
}

pub(super) fn as_user(user: Option<&str>, program: &str) -> Command {
    let Some(user) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups", "--", program]);
    command
}

pub(super) fn run(command: &mut Command) {
    try_to_run(command).unwrap_or_else(|told| panic!("{told}"));
}

fn try_to_run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {out}{err}")) }
}

fn append(path: &Path, lines: &str) {
    let text = std::fs::read_to_string(path).expect("a file");
    std::fs::write(path, text + lines).expect("a file");
}
