//! Where the database is, as the configuration says it. An address may hold a password, so nothing
//! here shows one.

use std::fmt;
use std::path::PathBuf;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use super::StoreError;
use super::trust::SSL_MODES;
use crate::model::text::{clean, without_newline};

/// What may be said after the `?` of a PostgreSQL address, as libpq names it.
const PARAMETERS: &[&str] =
    &["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "hostaddr", "port", "dbname", "user", "password", SESSION];
/// Which of several servers is meant. Only one that can be written is of use, so nothing else may be said.
const SESSION: &str = "target_session_attrs";
const SESSIONS: &[&str] = &["read-write", "primary"];
/// What says where a server is, and is a list if there are several.
const PLACES: &[&str] = &["host", "hostaddr", "port"];

/// A database: `sqlite://` and a path, or `postgres://user@host:5432/name?sslmode=verify-full`, where
/// `host:5432,other:5432` are several servers of which one can be written at a time.
#[derive(Clone)]
pub struct Address {
    url: SecretString,
    password: Option<Password>,
}

/// A password that stands beside the address.
#[derive(Clone)]
struct Password {
    /// As it was when the configuration was read.
    first: SecretString,
    /// The file that has it, where whoever changes it writes the next.
    file: Option<PathBuf>,
}

impl Address {
    /// The same database, logged in to with this password instead of the address's.
    pub fn with_password(self, password: SecretString) -> Address {
        Address { password: Some(Password { first: password, file: None }), ..self }
    }

    /// The same with a password that was found in this file, which is asked for it again with each
    /// connection: passwords are changed while programs run.
    pub fn with_password_file(self, password: SecretString, file: PathBuf) -> Address {
        Address { password: Some(Password { first: password, file: Some(file) }), ..self }
    }

    /// Whether it is a PostgreSQL server's, which several processes may use.
    pub fn is_shared(&self) -> bool {
        ["postgres://", "postgresql://"].iter().any(|scheme| self.text().starts_with(scheme))
    }

    /// Refuses what cannot be an address, whoever answers there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Address`] or [`StoreError::Parameter`]; neither repeats the address.
    pub fn check(&self) -> Result<(), StoreError> {
        let refused = || StoreError::Address { scheme: clean(self.text().split(':').next().unwrap_or_default(), 40) };
        if !self.is_shared() {
            let path = self.text().strip_prefix("sqlite://").filter(|path| !path.is_empty());
            return path.filter(|path| !path.contains(['?', '\0'])).map(|_| ()).ok_or_else(refused);
        }
        if self.servers()?.iter().any(|server| server.expose_secret().parse::<Url>().is_err()) {
            return Err(refused());
        }
        for (key, value) in self.parameters() {
            let parameter = |expected: &[&str]| StoreError::Parameter { expected: expected.join(", ") };
            if !PARAMETERS.contains(&key.as_str()) {
                return Err(parameter(PARAMETERS));
            }
            if key == "sslmode" && !SSL_MODES.contains(&value.as_str()) {
                return Err(parameter(SSL_MODES));
            }
            if key == SESSION && !SESSIONS.contains(&value.as_str()) {
                return Err(parameter(SESSIONS));
            }
        }
        Ok(())
    }

    /// The address of each server of a PostgreSQL address that names several, as libpq has it: where
    /// the `?` is followed by hosts and ports, those count.
    pub(super) fn servers(&self) -> Result<Vec<SecretString>, StoreError> {
        let (whole, query) = self.text().split_once('?').unwrap_or((self.text(), ""));
        let (scheme, rest) = whole.split_once("://").unwrap_or(("", whole));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        // What chooses among them is for us, and the driver does not know it.
        let (places, others): (Vec<_>, Vec<_>) =
            pairs.filter(|(key, _)| !key.is_empty() && *key != SESSION).partition(|(key, _)| PLACES.contains(key));
        let others: Vec<String> = others.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let place = |name: &str| places.iter().rfind(|(key, _)| *key == name).map(|(_, value)| list(value));

        let named = place("hostaddr").map(|hosts| ("hostaddr", hosts));
        let named = named.or_else(|| place("host").map(|hosts| ("host", hosts)));
        let (key, hosts) = named.unwrap_or_else(|| ("", hosts.split(',').map(str::to_owned).collect()));
        let ports = place("port").unwrap_or_default();
        if ports.len() > 1 && ports.len() != hosts.len() {
            return Err(StoreError::Parameter { expected: "one port for all hosts, or one for each".to_owned() });
        }
        let server = |(number, host): (usize, &String)| {
            let mut query = others.clone();
            query.extend(ports.get(number).or(ports.first()).map(|port| format!("port={port}")));
            if key.is_empty() {
                return format!("{scheme}://{login}{host}{path}?{}", query.join("&")).into();
            }
            // An address with a user needs a host, and this one does not count.
            query.push(format!("{key}={host}"));
            format!("{scheme}://{login}server{path}?{}", query.join("&")).into()
        };
        Ok(hosts.iter().enumerate().map(server).collect())
    }

    /// What the `?` is followed by.
    pub(super) fn parameters(&self) -> Vec<(String, String)> {
        let query = self.text().split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// One of them; the last, if it is there more than once.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters().into_iter().rev().find_map(|(key, value)| (key == name).then_some(value))
    }

    pub(super) fn text(&self) -> &str {
        self.url.expose_secret()
    }

    /// The password beside the address, as it is now; a file that cannot be read has the one it had.
    pub(super) fn password(&self) -> Option<SecretString> {
        let password = self.password.as_ref()?;
        let text = password.file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        let now = text.as_deref().map(without_newline).filter(|text| !text.is_empty());
        Some(now.map_or_else(|| password.first.clone(), SecretString::from))
    }
}

/// The items of a list whose commas may be written in both ways.
fn list(value: &str) -> Vec<String> {
    value.replace("%2C", ",").replace("%2c", ",").split(',').map(str::to_owned).collect()
}

impl From<&str> for Address {
    fn from(url: &str) -> Address {
        Address { url: url.into(), password: None }
    }
}

impl From<&String> for Address {
    fn from(url: &String) -> Address {
        url.as_str().into()
    }
}

impl From<&Address> for Address {
    fn from(address: &Address) -> Address {
        address.clone()
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Address) -> bool {
        self.text() == other.text() && self.password == other.password
    }
}

impl PartialEq for Password {
    /// A file is the same, whatever it holds by now.
    fn eq(&self, other: &Password) -> bool {
        self.file == other.file && (self.file.is_some() || self.first.expose_secret() == other.first.expose_secret())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_an_address_is_refused_and_not_repeated() {
        let told = |text: &str| Address::from(text).check().expect_err(text).to_string();
        for text in ["", "onetag.db", "sqlite:onetag.db", "sqlite://", "sqlite://a?mode=ro", "mysql://a:secret@b/c"] {
            assert!(!told(text).contains("secret"), "{text}");
        }
        let expected = told("postgres://a:secret@db/onetag?sslmode=secret");
        insta::assert_snapshot!(expected, @"the database's address has a parameter that cannot be used: expected disable, prefer, require, verify-ca, verify-full");
        assert!(told("postgres://a@db/onetag?sslpassword=secret").contains("sslrootcert"));
        assert!(!told("postgres://a:sec/ret@db:port/").contains("sec"));
    }

    #[test]
    fn addresses_of_both_engines_are_taken() {
        for text in ["sqlite://onetag.db", "sqlite:///var/lib/one tag.db", "postgres://db/onetag"] {
            Address::from(text).check().expect(text);
        }
        let whole = "postgresql://onetag:secret@[::1]:5432/onetag?sslmode=verify-full&sslrootcert=/etc/ca.pem";
        assert!(Address::from(whole).check().is_ok() && Address::from(whole).is_shared());
        assert!(!format!("{:?}", Address::from(whole)).contains("secret"));
    }

    #[test]
    fn an_address_may_name_several_servers_of_which_one_can_be_written() {
        let address =
            Address::from("postgres://onetag:a,b@db1,[::1]:5433/onetag?target_session_attrs=primary&sslmode=require");
        address.check().expect("it is one");
        assert_eq!(
            servers(&address),
            [
                "postgres://onetag:a,b@db1/onetag?sslmode=require",
                "postgres://onetag:a,b@[::1]:5433/onetag?sslmode=require"
            ]
        );
        assert_eq!(servers(&Address::from("postgres://db?user=a,b")).len(), 1);
        let any = Address::from("postgres://db1,db2/onetag?target_session_attrs=any").check();
        assert!(any.expect_err("a standby is of no use").to_string().ends_with("expected read-write, primary"));
    }

    #[test]
    fn hosts_and_ports_may_be_named_as_parameters() {
        let told = |text: &str| servers(&Address::from(text));
        assert_eq!(
            told("postgres://onetag@/onetag?host=db1,db2&port=5433,5434&sslmode=require"),
            [
                "postgres://onetag@server/onetag?sslmode=require&port=5433&host=db1",
                "postgres://onetag@server/onetag?sslmode=require&port=5434&host=db2"
            ]
        );
        assert_eq!(
            told("postgres://db1,db2/onetag?port=5433"),
            ["postgres://db1/onetag?port=5433", "postgres://db2/onetag?port=5433"]
        );
        assert_eq!(told("postgres:///onetag?host=%2Frun%2Fpostgresql%2C/tmp").len(), 2);
        let uneven = Address::from("postgres://a,b,c/onetag?port=1,2").check().expect_err("which is whose?");
        assert!(uneven.to_string().ends_with("expected one port for all hosts, or one for each"), "{uneven}");
        Address::from("postgres://onetag@/onetag?host=db1,db2").check().expect("it is one");
    }

    #[test]
    fn a_password_in_a_file_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        let address = Address::from("postgres://db/onetag").with_password_file("first".into(), file.clone());
        let now = || address.password().expect("it has one").expose_secret().to_owned();
        assert_eq!(now(), "first", "while the file is away");
        std::fs::write(&file, "second\r\n").expect("a file");
        assert_eq!(now(), "second");
        let again = Address::from("postgres://db/onetag").with_password_file("second".into(), file);
        assert!(address == again, "it is the same place");
        assert!(address != Address::from("postgres://db/onetag").with_password("second".into()));
    }

    fn servers(address: &Address) -> Vec<String> {
        let servers = address.servers().expect("it is one");
        servers.iter().map(|server| server.expose_secret().to_owned()).collect()
    }
}
