//! How a PostgreSQL server and this program prove to each other who they are: what the address and the
//! environment say of TLS, and the files that they name.
//!
//! All of it is judged before anything is connected. The driver takes a mode that it does not know for
//! `prefer`, and asks a file that is not there again and again without telling its name.

use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::StoreError;
use super::address::Address;
use crate::model::text::clean;

/// How much a connection may trust the way to the server (libpq, "SSL Mode Descriptions"). There is no
/// `allow`: the driver would take it for `disable`.
pub(super) const SSL_MODES: &[&str] = &["disable", "prefer", "require", "verify-ca", "verify-full"];

/// What may name a file: in the address, in the environment, and what the file holds.
const FILES: [(&str, &str, &str); 3] = [
    (ROOT, ROOT_VARIABLE, "certificate"),
    ("sslcert", "PGSSLCERT", "certificate"),
    ("sslkey", "PGSSLKEY", "private key"),
];
const ROOT: &str = "sslrootcert";
const ROOT_VARIABLE: &str = "PGSSLROOTCERT";

/// A variable of the environment.
pub(super) type Variable<'v> = &'v dyn Fn(&str) -> Option<String>;
/// What a file holds.
pub(super) type Content<'c> = &'c dyn Fn(&Path) -> io::Result<Vec<u8>>;

impl Address {
    /// Refuses what this machine's variables and files make of the address. Nobody is asked but them.
    ///
    /// # Errors
    ///
    /// [`StoreError::Variable`] or [`StoreError::Certificate`].
    pub fn check_here(
        &self,
        variable: &dyn Fn(&str) -> Option<String>,
        content: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<(), StoreError> {
        if !self.is_shared() {
            return Ok(());
        }
        if self.mode(variable)? == "disable" {
            return Ok(());
        }
        FILES.iter().try_for_each(|(parameter, name, kind)| match self.named(parameter, name, variable) {
            Some((said_by, path)) => check_file(said_by, &path, kind, content),
            None => Ok(()),
        })
    }

    /// Whether the server must prove that it is who the address names. Who names an authority wants the
    /// server to be checked, as libpq has it; and since the driver trusts public authorities beside that
    /// one, which sign a certificate for anybody, the name is checked even where libpq would not.
    pub(super) fn is_proof_wanted(&self, variable: Variable<'_>) -> Result<bool, StoreError> {
        let mode = self.mode(variable)?;
        Ok(mode.starts_with("verify") || mode == "require" && self.named(ROOT, ROOT_VARIABLE, variable).is_some())
    }

    fn mode(&self, variable: Variable<'_>) -> Result<String, StoreError> {
        if let Some(mode) = self.parameter("sslmode") {
            return Ok(mode);
        }
        let mode = variable("PGSSLMODE").unwrap_or_else(|| "prefer".to_owned());
        if !SSL_MODES.contains(&mode.as_str()) {
            let (found, expected) = (clean(&mode, 40), SSL_MODES.join(", "));
            return Err(StoreError::Variable { name: "PGSSLMODE", found, expected });
        }
        Ok(mode)
    }

    /// A file that is named, and where. What a variable holds may be the thing itself.
    fn named(
        &self,
        parameter: &'static str,
        name: &'static str,
        variable: Variable<'_>,
    ) -> Option<(&'static str, PathBuf)> {
        let own = self.parameter(parameter).map(|path| (parameter, path));
        let (said_by, path) = own.or_else(|| Some((name, variable(name)?))).filter(|(_, path)| !path.is_empty())?;
        Some((said_by, path.into()))
    }
}

fn check_file(parameter: &'static str, path: &Path, kind: &str, content: Content<'_>) -> Result<(), StoreError> {
    if path.as_os_str().as_encoded_bytes().trim_ascii_start().starts_with(b"-----BEGIN") {
        return Ok(()); // not a path: the driver takes what it holds
    }
    let refused = |problem: String| {
        let path = clean(&path.display().to_string(), 200);
        Err(StoreError::Certificate { parameter, path, problem })
    };
    let bytes = match content(path) {
        Ok(bytes) => bytes,
        Err(error) => return refused(format!("cannot be read: {error}")),
    };
    let is_one = match kind {
        "certificate" => {
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
            certificates.is_ok_and(|certificates| !certificates.is_empty())
        }
        _ => PrivateKeyDer::from_pem_slice(&bytes).is_ok(),
    };
    if is_one { Ok(()) } else { refused(format!("holds no {kind} in PEM")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_checked(rest: &str, variables: &[(&str, &str)]) -> bool {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, it)| (*it).to_owned());
        Address::from(format!("postgres://db/onetag?{rest}").as_str()).is_proof_wanted(&variable).expect("it is one")
    }

    #[test]
    fn who_names_an_authority_wants_the_server_to_be_checked() {
        let named = ("PGSSLROOTCERT", "/etc/ca.pem");
        assert!(is_checked("sslmode=require&sslrootcert=/etc/ca.pem", &[]));
        assert!(is_checked("sslmode=require", &[named]));
        assert!(is_checked("", &[named, ("PGSSLMODE", "require")]));
        assert!(is_checked("sslmode=verify-ca", &[]) && is_checked("", &[("PGSSLMODE", "verify-full")]));
        assert!(!is_checked("sslmode=require", &[]) && !is_checked("", &[named]));
        assert!(!is_checked("sslmode=disable", &[named, ("PGSSLMODE", "verify-full")]));
    }

    #[test]
    fn what_the_driver_would_overlook_is_refused() {
        let told = |address: &str, variables: &[(&str, &str)]| {
            let variable =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, it)| (*it).to_owned());
            let content = |path: &Path| match path.to_str() {
                Some("/etc/empty.pem") => Ok(b"\n".to_vec()),
                _ => Err(io::ErrorKind::NotFound.into()),
            };
            Address::from(address).check_here(&variable, &content).err().map(|error| error.to_string())
        };
        let all = [
            told("postgres://db/onetag", &[("PGSSLMODE", "Verify-Full")]),
            told("postgres://db/onetag?sslmode=verify-full&sslrootcert=/etc/none.pem", &[]),
            told("postgres://db/onetag", &[("PGSSLROOTCERT", "/etc/empty.pem")]),
            told("postgres://db/onetag?sslkey=/etc/empty.pem", &[]),
        ];
        insta::assert_snapshot!(all.map(|error| error.expect("it is refused")).join("\n"), @r"
        the environment's `PGSSLMODE` is `Verify-Full`: expected disable, prefer, require, verify-ca, verify-full
        `sslrootcert` names /etc/none.pem, which cannot be read: entity not found
        `PGSSLROOTCERT` names /etc/empty.pem, which holds no certificate in PEM
        `sslkey` names /etc/empty.pem, which holds no private key in PEM
        ");
        assert_eq!(told("postgres://db/onetag?sslmode=prefer", &[("PGSSLMODE", "allow")]), None);
        assert_eq!(told("postgres://db/onetag?sslmode=disable", &[("PGSSLROOTCERT", "/etc/none.pem")]), None);
        assert_eq!(told("sqlite://onetag.db", &[("PGSSLMODE", "allow")]), None);
    }
}
