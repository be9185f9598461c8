//! HTTPS for the fakes, and certificates to try it with.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// A CA that is trusted by those who are given its certificate.
pub struct Ca {
    /// Its own certificate.
    pub certificate_pem: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key.
    pub key_pem: String,
}

impl Ca {
    /// A new CA of this name.
    pub fn new(name: &str) -> Ca {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names to be wrong");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(parameters, key).expect("a certificate");
        Ca { certificate_pem: issuer.pem(), issuer }
    }

    /// A certificate for `127.0.0.1`, `localhost`, another name, or a client.
    pub fn issue(&self, name: &str) -> Pair {
        self.sign(CertificateParams::new(vec![name.to_owned()]).expect("a name"))
    }

    /// A certificate that was good until the end of 2020.
    pub fn issue_expired(&self, name: &str) -> Pair {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(2020, 12, 31);
        self.sign(parameters)
    }

    fn sign(&self, parameters: CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        Pair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }
}

/// A server that shows this certificate, and wants one of `client_ca` if that is given.
pub fn server_config(certificate: &str, key: &str, client_ca: Option<&str>) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3");
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for ca in read_certificates(ca) {
                roots.add(ca).expect("a CA certificate");
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a CA to verify by"))
        }
    };
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a private key in PEM");
    let mut config = builder.with_single_cert(read_certificates(certificate), key).expect("a pair that fits");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn read_certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    certificates.expect("certificates in PEM")
}
