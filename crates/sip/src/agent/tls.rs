//! Certificates from files.

use std::path::Path;
use std::sync::Arc;

use rsipstack::transport::TlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::{StartError, Tls};

/// Where systems keep the authorities they believe in.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

impl Tls {
    /// Reads the files, and says what is wrong with them.
    ///
    /// # Errors
    ///
    /// A file cannot be read, is no PEM, or certificate and key do not belong together.
    pub fn check(&self) -> Result<(), StartError> {
        let config = config(self)?;
        if config.cert.is_some() { acceptor(&config).map(drop) } else { Ok(()) }
    }
}

/// Reads the files, for connections that we open.
pub(super) fn config(tls: &Tls) -> Result<TlsConfig, StartError> {
    // Two libraries for it are linked; without a choice the first connection would panic. An earlier choice stands.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (cert, key) = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => (Some(read(certificate)?), Some(read(key)?)),
        (None, None) => (None, None),
        (Some(_), None) | (None, Some(_)) => {
            return Err(StartError::Tls("certificate and key belong together".to_owned()));
        }
    };
    let mut authorities = SYSTEM_AUTHORITIES.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
    if let Some(own) = &tls.authorities {
        authorities.push(b'\n');
        authorities.extend(read(own)?);
    }
    Ok(TlsConfig {
        client_cert: cert.clone(),
        client_key: key.clone(),
        cert,
        key,
        ca_certs: Some(authorities),
        sni_hostname: None,
    })
}

/// What takes connections that peers open.
pub(super) fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor, StartError> {
    let (Some(certificate), Some(key)) = (&config.cert, &config.key) else {
        return Err(StartError::Tls("to listen, a certificate and a key are needed".to_owned()));
    };
    let problem = |what: &str, error: &dyn std::fmt::Display| StartError::Tls(format!("{what}: {error}"));
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| problem("certificate", &error))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| problem("key", &error))?;
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| problem("certificate and key", &error))?;
    Ok(TlsAcceptor::from(Arc::new(server)))
}

fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|error| StartError::Tls(format!("cannot read {}: {error}", path.display())))
}
