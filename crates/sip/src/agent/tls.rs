//! Certificates from files.

use std::path::Path;

use rsipstack::transport::TlsConfig;

use super::{StartError, Tls};

/// Where systems keep the authorities they believe in.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// Reads the files.
pub(super) fn config(tls: &Tls, listens: bool) -> Result<TlsConfig, StartError> {
    // Two libraries for it are linked; without a choice the first connection would panic. An earlier choice stands.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| StartError::Tls(format!("cannot read {}: {error}", path.display())))
    };
    let (cert, key) = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => (Some(read(certificate)?), Some(read(key)?)),
        (None, None) if !listens => (None, None),
        (None, None) => return Err(StartError::Tls("to listen, a certificate and a key are needed".to_owned())),
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
