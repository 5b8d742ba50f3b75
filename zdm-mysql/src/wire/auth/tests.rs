//! Logins, and servers that would trip us.

use proptest::prelude::*;

use super::*;
use crate::wire::connection::Connection;
use crate::wire::script::{GREETING, config, server};

/// An RSA key of 2048 bits, as a server gives it.
const KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAxSKOcxiet8lLMn8ImyUE
bGGKob5EdRz/4wdiw12ED0GfKKTKhVnodFCfm1mdy7bKOX5QxL9skrvYodpW43eR
R5bfOzIgy1qIB8RYb6qOXRBw1oA4snBDqtUjDv/lbHLJN+IbzM4oU+e3Lt9rXyLX
VY289ewONPweXHqSCnTL91w+wkU1peIFV2QhZ+upUCdCtwOn5hnJPNgxtbklFoya
C8W3Z7Xx7He2QDJsEWAqX197efw0L6j8X8Tyd8Uwb7zUB1tfMGhHfm9EwejPAtzx
4GztQNtNMtGS2oGZLQBLV9hib4dDL92iiZeckg2LAf4GsJofLLR8mcHCRoqVbQJ1
YQIDAQAB
-----END PUBLIC KEY-----
";

#[tokio::test]
async fn full_authentication_without_tls_encrypts_for_the_servers_key() {
    let (mut server, client) = server();
    let config = config();
    let script = async {
        server.send(GREETING).await;
        let answer = server.receive().await;
        let proof = scramble_sha256(b"abcdefgh123456789012", b"secret").unwrap();
        assert!(answer.windows(32).any(|bytes| bytes == proof));
        server.send(&[1, FULL]).await;
        assert_eq!(server.receive().await, [KEY_PLEASE]);
        server.send(&[b"\x01", KEY.as_bytes()].concat()).await;
        assert_eq!(server.receive().await.len(), 256);
        server.send(&[0, 0, 0, 2, 0, 0, 0]).await;
    };
    let (connection, ()) = tokio::join!(Connection::over(client, &config), script);
    assert_eq!(connection.unwrap().version(), "8.4.0");
}

#[tokio::test]
async fn the_servers_choice_of_plugin_is_followed_once() {
    for (plugin, length) in [("mysql_native_password", 20), ("client_ed25519", 64)] {
        let (mut server, client) = server();
        let config = config();
        let script = async {
            server.send(GREETING).await;
            server.receive().await;
            let switch = [b"\xfe", plugin.as_bytes(), b"\0", &[7; 20], b"\0"].concat();
            server.send(&switch).await;
            assert_eq!(server.receive().await.len(), length);
            server.send(&switch).await;
        };
        let (connection, ()) = tokio::join!(Connection::over(client, &config), script);
        assert_eq!(connection.unwrap_err().kind(), ErrorKind::Protocol, "{plugin}");
    }
}

#[tokio::test]
async fn the_last_octet_of_what_ed25519_signs_may_be_zero() {
    for last in [0, 7] {
        let nonce = [&[7; 31][..], &[last]].concat();
        let (mut server, client) = server();
        let config = config();
        let script = async {
            server.send(GREETING).await;
            server.receive().await;
            server.send(&[b"\xfeclient_ed25519\0", &nonce[..]].concat()).await;
            assert_eq!(server.receive().await, create_response_for_ed25519(b"secret", &nonce));
            server.send(&[0, 0, 0, 2, 0, 0, 0]).await;
        };
        let (connection, ()) = tokio::join!(Connection::over(client, &config), script);
        connection.unwrap();
    }
}

#[tokio::test]
async fn a_plugin_that_would_show_the_password_is_refused() {
    for switch in [b"\xfemysql_clear_password\0".as_slice(), b"\xfe", b"\xfedialog\0x", b"\xfe\xff\xfe\0"] {
        let (mut server, client) = server();
        let config = config();
        let script = async {
            server.send(GREETING).await;
            server.receive().await;
            server.send(switch).await;
        };
        let (connection, ()) = tokio::join!(Connection::over(client, &config), script);
        let error = connection.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
}

#[test]
fn a_key_of_another_shape_is_refused() {
    assert_eq!(encrypt(&[1; 40], KEY.as_bytes()).unwrap().len(), 256);
    assert!(encrypt(&[1; 300], KEY.as_bytes()).unwrap_err().to_string().contains("too long"));
    for pem in ["", "no key", "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----"] {
        assert_eq!(encrypt(b"x", pem.as_bytes()).unwrap_err().kind(), ErrorKind::Protocol, "{pem}");
    }
    // Every byte of the key, changed in turn: refused or used, and no panic.
    let der = SubjectPublicKeyInfoDer::from_pem_slice(KEY.as_bytes()).unwrap();
    for at in 0..40 {
        for value in [0, 1, 0x80, 0xff] {
            let mut changed = der.as_ref().to_vec();
            changed[at] = value;
            if key_bytes(&changed).is_some() {
                let (modulus, exponent) = mysql_common::crypto::der::parse_pub_key_pkcs8(&changed);
                assert!(modulus.bits() > 0 && exponent.bits() > 0);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_der_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        prop_assert_eq!(key_bytes(&bytes), None);
    }
}
