//! Certificates and their fingerprints (RFC 8122 §5).

use std::fmt;

use model::{Fingerprint, FingerprintVerdict, HashFunction};
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::{X509, X509NameBuilder, X509Ref};
use thiserror::Error;

/// Why a certificate of ours could not be made: OpenSSL's own words.
#[derive(Clone, Debug, Error)]
#[error("cannot make a certificate: {0}")]
pub struct CertificateError(#[from] ErrorStack);

/// A self-signed certificate of ours with its key: ECDSA on P-256 (RFC 8827 §6.5).
///
/// Its subject is the same for everybody and its dates are fixed: it says nothing about who made it, or when.
#[derive(Clone)]
pub struct Certificate {
    pub(crate) x509: X509,
    pub(crate) key: PKey<Private>,
    fingerprints: Vec<Fingerprint>,
}

impl Certificate {
    /// Makes a new key and certificate.
    ///
    /// # Errors
    ///
    /// OpenSSL fails: there is no random source or no memory.
    pub fn generate() -> Result<Self, CertificateError> {
        let key = PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)?;
        Self::of(key, MessageDigest::sha256())
    }

    /// Its fingerprint, to be told to the peer.
    pub fn fingerprint(&self, hash: HashFunction) -> Fingerprint {
        let fingerprint = self.fingerprints.iter().find(|fingerprint| fingerprint.hash == hash);
        fingerprint.cloned().expect("a certificate is made with the fingerprint of every hash function")
    }

    pub(crate) fn of(key: PKey<Private>, signed_with: MessageDigest) -> Result<Self, CertificateError> {
        let x509 = self_signed(&key, signed_with)?;
        let fingerprint = |hash| Ok(Fingerprint { hash, digest: digest(&x509, hash)? });
        let fingerprints = HashFunction::ALL.into_iter().map(fingerprint).collect::<Result<_, ErrorStack>>()?;
        Ok(Self { x509, key, fingerprints })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

/// Compares a peer's certificate with what signalling promised: one match is enough, by the hash that is named
/// (RFC 8122 §5). Dates, names and issuers are nobody's business.
pub(crate) fn compare(certificate: Option<&X509Ref>, promised: &[Fingerprint]) -> FingerprintVerdict {
    let Some(certificate) = certificate else { return FingerprintVerdict::NoCertificate };
    let matches = |promise: &Fingerprint| {
        digest(certificate, promise.hash).is_ok_and(|digest| !digest.is_empty() && digest == promise.digest)
    };
    if promised.iter().any(matches) { FingerprintVerdict::Matched } else { FingerprintVerdict::Mismatched }
}

fn digest(certificate: &X509Ref, hash: HashFunction) -> Result<Vec<u8>, ErrorStack> {
    let function = match hash {
        HashFunction::Sha1 => MessageDigest::sha1(),
        HashFunction::Sha224 => MessageDigest::sha224(),
        HashFunction::Sha256 => MessageDigest::sha256(),
        HashFunction::Sha384 => MessageDigest::sha384(),
        HashFunction::Sha512 => MessageDigest::sha512(),
    };
    Ok(certificate.digest(function)?.to_vec())
}

fn self_signed(key: &PKey<Private>, hash: MessageDigest) -> Result<X509, ErrorStack> {
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_nid(Nid::COMMONNAME, "WebRTC")?;
    let name = name.build();

    let mut builder = X509::builder()?;
    builder.set_version(2)?; // X.509 v3
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_not_before(&*Asn1Time::from_str("20240101000000Z")?)?;
    builder.set_not_after(&*Asn1Time::from_str("20491231235959Z")?)?;
    builder.set_pubkey(key)?;
    builder.sign(key, hash)?;
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_certificate_is_new_and_its_fingerprints_have_the_lengths_of_their_hashes() {
        let (first, second) = (Certificate::generate().expect("made"), Certificate::generate().expect("made"));
        for hash in HashFunction::ALL {
            let fingerprint = first.fingerprint(hash);
            assert_eq!(fingerprint.digest.len(), hash.length());
            assert_ne!(fingerprint, second.fingerprint(hash));
        }
        assert_ne!(
            first.x509.serial_number().to_bn().expect("a number"),
            second.x509.serial_number().to_bn().expect("a number")
        );
    }

    #[test]
    fn one_matching_fingerprint_of_several_is_enough_by_the_hash_it_names() {
        let (ours, other) = (Certificate::generate().expect("made"), Certificate::generate().expect("made"));
        for hash in HashFunction::ALL {
            let promised = [other.fingerprint(hash), ours.fingerprint(hash)];
            assert_eq!(compare(Some(&ours.x509), &promised), FingerprintVerdict::Matched);
            assert_eq!(compare(Some(&ours.x509), &promised[..1]), FingerprintVerdict::Mismatched);
            assert_eq!(compare(None, &promised), FingerprintVerdict::NoCertificate);
        }
        assert_eq!(compare(Some(&ours.x509), &[]), FingerprintVerdict::Mismatched);
        let misnamed = Fingerprint { hash: HashFunction::Sha1, ..ours.fingerprint(HashFunction::Sha256) };
        assert_eq!(compare(Some(&ours.x509), &[misnamed]), FingerprintVerdict::Mismatched);
    }
}
