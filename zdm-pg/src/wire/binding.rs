//! `tls-server-end-point`: the hash of the server's certificate that
//! SCRAM-SHA-256-PLUS binds a login to (RFC 5929, section 4.1).
//!
//! The hash is the one of the certificate's own signature, with MD5 and SHA-1
//! replaced by SHA-256; where the signature has no single hash (Ed25519,
//! PSS), nothing is bound, as in libpq before OpenSSL could tell. The
//! certificate's outermost DER is walked here: two lengths and an object
//! identifier do not need an X.509 library.

use rustls::SupportedCipherSuite;
use rustls::crypto::hash::Hash;
use rustls::crypto::ring::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384};
use rustls::pki_types::CertificateDer;

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// What to bind to, if the certificate's signature says which hash to use.
pub(super) fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let hash = hash_of(signature_algorithm(certificate)?)?;
    Some(hash.hash(certificate).as_ref().to_vec())
}

/// `Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm
/// SEQUENCE { algorithm OBJECT IDENTIFIER, … }, … }` (RFC 5280, 4.1).
fn signature_algorithm(der: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (_, rest) = element(certificate, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    element(algorithm, OBJECT_IDENTIFIER).map(|(oid, _)| oid)
}

/// Splits one DER element off: its content, and what follows.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Long form: so many bytes of length. Four are enough for any certificate.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn hash_of(oid: &[u8]) -> Option<&'static dyn Hash> {
    // 1.2.840.113549.1.1.* (RSA), 1.2.840.10045.4.* (ECDSA).
    const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: [u8; 6] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
    let suite = match (oid.strip_prefix(&RSA), oid.strip_prefix(&ECDSA)) {
        // md5, sha1, sha256
        (Some([4 | 5 | 11]), _) => TLS13_AES_128_GCM_SHA256,
        (Some([12]), _) => TLS13_AES_256_GCM_SHA384,
        // sha1, sha256
        (_, Some([1] | [3, 2])) => TLS13_AES_128_GCM_SHA256,
        (_, Some([3, 3])) => TLS13_AES_256_GCM_SHA384,
        // SHA-512 as well: rustls's ring provider has no hash for it, and a
        // login without binding is what the server then gets.
        _ => return None,
    };
    match suite {
        SupportedCipherSuite::Tls13(suite) => Some(suite.common.hash_provider),
        SupportedCipherSuite::Tls12(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn certificate(oid: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, body: &[u8]| {
            let length = u8::try_from(body.len()).unwrap();
            let mut der = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
            der.extend(body);
            der
        };
        let algorithm = wrap(SEQUENCE, &[wrap(OBJECT_IDENTIFIER, oid), vec![5, 0]].concat());
        wrap(SEQUENCE, &[wrap(SEQUENCE, &[7; 140]), algorithm, vec![3, 1, 0]].concat())
    }

    #[test]
    fn the_signature_names_the_hash() {
        let length = |oid: &[u8]| end_point(&CertificateDer::from(certificate(oid))).map(|hash| hash.len());
        assert_eq!(length(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]), Some(32));
        assert_eq!(length(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5]), Some(32));
        assert_eq!(length(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12]), Some(48));
        assert_eq!(length(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]), Some(32));
        assert_eq!(length(&[0x2b, 0x65, 0x70]), None);
    }

    proptest! {
        #[test]
        fn rubbish_binds_nothing(der in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = end_point(&CertificateDer::from(der));
        }
    }
}
