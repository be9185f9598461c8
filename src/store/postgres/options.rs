//! What is told the driver of each server, and which password it has at the moment.

use std::path::Path;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::super::StoreError;
use super::super::address::Address;
use super::pgpass::{self, Login, Passwords};

/// The servers of an address; at least one.
pub(super) struct Servers {
    address: Address,
    servers: Vec<Server>,
}

struct Server {
    options: PgConnectOptions,
    /// Nobody but `.pgpass` can know it.
    has_no_password: bool,
}

impl Servers {
    /// Judges the address and what it needs of this machine. Nothing is connected yet.
    pub(super) fn of(address: &Address) -> Result<Servers, StoreError> {
        address.check()?;
        let variable = |name: &str| std::env::var(name).ok();
        address.check_here(&variable, &|path: &Path| std::fs::read(path))?;
        let is_proof_wanted = address.is_proof_wanted(&variable)?;
        let servers = address.servers()?.into_iter().map(|server| {
            let server = Server::of(&server, address.password().is_some())?;
            Ok(if is_proof_wanted { server.proven() } else { server })
        });
        let servers = Servers { address: address.clone(), servers: servers.collect::<Result<_, StoreError>>()? };
        if servers.servers.iter().any(|server| server.has_no_password) {
            passwords().warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        }
        Ok(servers)
    }

    /// Where it is, without the password: for messages.
    pub(super) fn name(&self) -> String {
        let hosts: Vec<String> = self.servers.iter().map(Server::host).collect();
        format!("postgres://{}/{}", hosts.join(","), self.servers[0].database())
    }

    pub(super) fn len(&self) -> usize {
        self.servers.len()
    }

    /// How one of them is connected to now. Passwords are looked up each time, since they are changed
    /// while programs run: a password of the configuration counts before the address's, and that before
    /// `PGPASSWORD` and `.pgpass`.
    pub(super) fn options(&self, number: usize) -> PgConnectOptions {
        let server = &self.servers[number];
        let options = server.options.clone();
        let password = match self.address.password() {
            None if server.has_no_password => passwords().find(&server.login()).cloned(),
            password => password,
        };
        match password {
            Some(password) => options.password(password.expose_secret()),
            None => options,
        }
    }
}

impl Server {
    /// No statement is kept prepared, and nothing is asked of the session: a pooler may give each
    /// transaction another one.
    fn of(address: &SecretString, has_password: bool) -> Result<Server, StoreError> {
        let refused = || StoreError::Address { scheme: "postgres".to_owned() };
        let mut url: Url = address.expose_secret().parse().map_err(|_| refused())?;
        let is_named = url.password().is_some() || url.query_pairs().any(|(key, _)| key == "password");
        let has_no_password = !has_password && !is_named && std::env::var_os("PGPASSWORD").is_none();
        if has_no_password {
            // One that is there, if empty, keeps the driver from reading `.pgpass`, whose lines it logs.
            url.query_pairs_mut().append_pair("password", "");
        }
        let options = PgConnectOptions::from_url(&url).map_err(|_| refused())?;
        // The brackets are the address's; in certificates and `.pgpass` there are none.
        let host = options.get_host().trim_matches(['[', ']']).to_owned();
        let options = options.host(&host).application_name("onetag").extra_float_digits(None);
        let options = options.statement_cache_capacity(0).disable_statement_logging();
        Ok(Server { options, has_no_password })
    }

    fn proven(self) -> Server {
        Server { options: self.options.ssl_mode(PgSslMode::VerifyFull), ..self }
    }

    fn host(&self) -> String {
        let (host, port) = (self.options.get_host(), self.options.get_port());
        match self.options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None if host.contains(':') => format!("[{host}]:{port}"),
            None => format!("{host}:{port}"),
        }
    }

    fn database(&self) -> &str {
        self.options.get_database().unwrap_or(self.options.get_username())
    }

    fn login(&self) -> Login<'_> {
        let socket = self.options.get_socket().and_then(|socket| socket.to_str());
        Login {
            host: socket.unwrap_or(self.options.get_host()),
            port: self.options.get_port(),
            database: self.database(),
            user: self.options.get_username(),
        }
    }
}

fn passwords() -> Passwords {
    pgpass::path().map(|path| pgpass::read(&path)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(address: &str) -> Server {
        let address = Address::from(address);
        Server::of(&address.servers().expect("it is one")[0], false).expect("it can be used")
    }

    #[test]
    fn an_address_in_brackets_is_named_without_them() {
        let server = server("postgres://onetag@[::1]:5433/?sslmode=verify-full");
        assert_eq!((server.login().host, server.login().database), ("::1", "onetag"));
        assert_eq!(server.host(), "[::1]:5433");
    }

    #[test]
    fn hosts_of_parameters_are_what_is_connected_to() {
        let server = server("postgres://onetag@/tags?host=%2Frun%2Fpostgresql,db2&port=5433,5434");
        let login = server.login();
        assert_eq!((login.host, login.port, login.database, login.user), ("/run/postgresql", 5433, "tags", "onetag"));
    }

    #[test]
    fn a_server_that_must_prove_itself_must_prove_its_name() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let proven = server(&format!("postgres://db/onetag?sslmode={mode}")).proven();
            assert!(matches!(proven.options.get_ssl_mode(), PgSslMode::VerifyFull), "{mode}");
        }
    }
}
