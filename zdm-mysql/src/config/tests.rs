//! What a configuration accepts, refuses and hides.

use proptest::prelude::*;
use zdm_core::ErrorKind;

use super::*;

fn with_env(text: &str, env: &[(&str, &str)]) -> Result<MySqlConfig> {
    let env: Vec<(String, String)> = env.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    MySqlConfigBuilder::parse(text)?
        .build_with(&move |name| env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
}

fn bare(text: &str) -> Result<MySqlConfig> {
    with_env(text, &[("USER", "os")])
}

#[test]
fn a_url_says_everything() {
    let config = bare(
        "mariadb://us%40er:p%40ss%2Fw@[::1]:3307/my%20db?ssl-mode=VERIFY_CA&ssl-ca=/ca.pem&ssl_cert=/c&ssl-key=/k\
         &connect-timeout=3&server-id=77&compression=zlib&schema=own&heartbeat=2&keepalive=0&undecided-limit=9\
         &begin_timeout=8&lock-timeout=4",
    )
    .unwrap();
    assert_eq!((config.host(), config.port()), ("::1", 3307));
    assert_eq!((config.user(), config.database()), ("us@er", Some("my db")));
    assert_eq!(config.password().unwrap().expose(), "p@ss/w");
    assert_eq!(config.ssl_mode(), SslMode::VerifyCa);
    assert_eq!(config.ssl_ca(), Some(&RootCert::File("/ca.pem".into())));
    assert_eq!(config.client_cert().unwrap().1, Path::new("/k"));
    assert_eq!((config.server_id(), config.schema()), (Some(77), "own"));
    assert_eq!(config.compression(), Some(Compression::Zlib));
    assert_eq!((config.keepalive(), config.undecided_limit()), (None, 9));
    let seconds =
        [config.connect_timeout(), config.heartbeat(), config.begin_timeout(), config.lock_timeout()];
    assert_eq!(seconds.map(|time| time.as_secs()), [3, 2, 8, 4]);
}

#[test]
fn what_is_left_out_has_a_default() {
    let config = bare("mysql://").unwrap();
    assert_eq!(config.to_string(), "os@localhost:3306");
    assert_eq!((config.database(), config.ssl_mode(), config.server_id()), (None, SslMode::Preferred, None));
    assert_eq!((config.socket(), config.schema()), (None, "zdm"));
    let config = bare("mysql:///shop?socket=/run/my.sock").unwrap();
    assert_eq!(config.socket(), Some(Path::new("/run/my.sock")));
    assert_eq!(config.to_string(), "os@/run/my.sock/shop");
    assert_eq!(bare("mysql://h?ssl-ca=/ca.pem").unwrap().ssl_mode(), SslMode::VerifyCa);
    assert_eq!(bare("mysql://h?ssl-ca=system").unwrap().ssl_mode(), SslMode::VerifyIdentity);
}

#[test]
fn environment_and_option_file_fill_only_what_is_missing() {
    let home = std::env::temp_dir().join(format!("zdm-home-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    let file = "[client]\nuser=fu\npassword=\"f pw\"\nsocket=/f.sock\nssl-mode=REQUIRED\ndefault-character-set=utf8\n";
    std::fs::write(home.join(".my.cnf"), file).unwrap();
    let home_text = home.to_str().unwrap().to_owned();
    let env = [("HOME", home_text.as_str()), ("MYSQL_PWD", "pw"), ("MYSQL_TCP_PORT", "7"), ("USER", "os")];
    let named = with_env("mysql://u@h/d", &env).unwrap();
    // The option file comes before the environment, as with MySQL's clients.
    assert_eq!(named.password().unwrap().expose(), "f pw");
    assert_eq!((named.host(), named.port(), named.user(), named.socket()), ("h", 7, "u", None));
    assert_eq!(named.ssl_mode(), SslMode::Required);
    let unnamed = with_env("mysql://", &env).unwrap();
    assert_eq!((unnamed.user(), unnamed.socket()), ("fu", Some(Path::new("/f.sock"))));
    std::fs::remove_dir_all(&home).unwrap();
    assert_eq!(with_env("mysql://h", &env).unwrap().password().unwrap().expose(), "pw");
    assert!(
        with_env("mysql://", &[("MYSQL_TCP_PORT", "x")]).unwrap_err().to_string().contains("MYSQL_TCP_PORT")
    );
}

#[test]
fn refuses_what_cannot_work_and_says_what_to_do() {
    for (text, says) in [
        ("postgres://u@h/d", "must begin with mysql://"),
        ("host=h", "must begin with mysql://"),
        ("mysql://u@h1,h2/d", "one host"),
        ("mysql://u@::1/d", "brackets"),
        ("mysql://u@%2Frun%2Fmy.sock/d", "socket=/file"),
        ("mysql://u@h:0/d", "between 1 and 65535"),
        ("mysql://u@h:99999/d", "between 1 and 65535"),
        ("mysql://u@h/d?ssl-mode=maybe", "unknown ssl-mode"),
        ("mysql://u@h/d?ssl-mode=verify_identity", "ssl_ca is missing"),
        ("mysql://u@h/d?ssl-mode=verify_ca&ssl-ca=system", "verify_identity"),
        ("mysql://u@h/d?ssl-cert=/x", "together"),
        ("mysql://u@h/d?compression=lz4", "write zlib, zstd"),
        ("mysql://u@h/d?tls-version=x", "`tls_version` is not supported"),
        ("mysql://u@h/d?server-id=0", "between 1 and 4294967295"),
        ("mysql://u@h/d?server-id=4294967296", "between 1 and 4294967295"),
        ("mysql://u@h/d?schema=MySQL", "choose another name"),
        ("mysql://u@h/d?connect-timeout=0", "more than zero"),
        ("mysql://u%00@h/d", "zero byte"),
        ("mysql://u%zz@h/d", "%25"),
        ("mysql://u@h/d?nonsense", "without a value"),
    ] {
        let error = bare(text).unwrap_err();
        assert!(error.to_string().contains(says), "{text}: {error}");
        assert!(matches!(error.kind(), ErrorKind::Config | ErrorKind::Unsupported), "{text}");
    }
    assert!(with_env("mysql://h", &[]).unwrap_err().to_string().contains("user is missing"));
}

#[test]
fn a_password_shows_nowhere() {
    // Unencoded, misplaced or whole: no error and no output shows it.
    for text in [
        "mysql://u:hun/ter2@h/d",
        "mysql://u:hun?ter2@h/d",
        "mysql://u:hunter2@h:x/d",
        "mysql://u:hunter2%@h/d",
        "mysql://u@h/d?password=a&hunter2=3",
        "mysql://u@h/d?port=hunter2",
    ] {
        let error = bare(text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hun") && !shown.contains("ter2"), "{text}: {shown}");
    }
    let config = bare("mysql://u:hunter2@h/d").unwrap();
    let json = serde_json::to_string(&config).unwrap();
    assert!(!format!("{config:?} {config} {json}").contains("hunter2"));
}

#[test]
fn serde_checks_and_refuses_unknown_fields() {
    let config: MySqlConfig = serde_json::from_str(
        r#"{"host":"h","user":"u","password":"p","ssl_mode":"verify_identity","ssl_ca":"system","heartbeat":0.5}"#,
    )
    .unwrap();
    assert_eq!(config.password().unwrap().expose(), "p");
    assert_eq!(config.heartbeat(), Duration::from_millis(500));
    let again: MySqlConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
    assert_eq!(again.to_string(), config.to_string());
    assert_eq!(again.ssl_ca(), Some(&RootCert::System));
    assert!(serde_json::from_str::<MySqlConfig>(r#"{"user":"u","hots":"h"}"#).is_err());
    assert!(serde_json::from_str::<MySqlConfig>(r#"{"user":"u","port":0}"#).is_err());
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in ".*", url in any::<bool>()) {
        let _ = bare(&if url { format!("mysql://{text}") } else { text });
    }

    #[test]
    fn percent_encoding_carries_any_password(password in "[^\0]+") {
        let encoded: String = password.bytes().map(|b| format!("%{b:02X}")).collect();
        let config = bare(&format!("mysql://u:{encoded}@h/d")).unwrap();
        prop_assert_eq!(config.password().unwrap().expose(), password);
    }
}
