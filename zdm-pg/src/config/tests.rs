//! What a configuration accepts, refuses and hides.

use proptest::prelude::*;
use zdm_core::ErrorKind;

use super::*;

fn with_env(text: &str, env: &[(&str, &str)]) -> Result<PgConfig> {
    let env: Vec<(String, String)> = env.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    PgConfigBuilder::parse(text)?
        .build_with(&move |name| env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
}

fn bare(text: &str) -> Result<PgConfig> {
    with_env(text, &[("USER", "os")])
}

#[test]
fn a_url_says_everything() {
    let config = bare(
        "postgresql://us%40er:p%40ss%2Fw@[::1]:5433/my%20db?sslmode=verify-ca&sslrootcert=/ca.pem&sslcert=/c&sslkey=/k\
         &application_name=mover&connect_timeout=3&options=-c%20work_mem%3D4MB&slot=s1&channel_binding=require\
         &answer_timeout=7",
    )
    .unwrap();
    assert_eq!((config.host(), config.port()), ("::1", 5433));
    assert_eq!((config.user(), config.dbname()), ("us@er", "my db"));
    assert_eq!(config.password().unwrap().expose(), "p@ss/w");
    assert_eq!(config.sslmode(), SslMode::VerifyCa);
    assert_eq!(config.sslrootcert(), Some(&RootCert::File("/ca.pem".into())));
    assert_eq!(config.client_cert().unwrap().1, Path::new("/k"));
    assert_eq!(config.options(), Some("-c work_mem=4MB"));
    assert_eq!(config.connect_timeout(), Duration::from_secs(3));
    assert_eq!(config.answer_timeout(), Duration::from_secs(7));
    assert_eq!(config.slot(), Some("s1"));
    assert_eq!(config.channel_binding(), ChannelBinding::Require);
}

#[test]
fn sockets_are_hosts_that_begin_with_a_slash() {
    for text in ["postgres:///shop?host=/run/pg", "postgres://%2Frun%2Fpg/shop", "host=/run/pg dbname=shop"] {
        let config = bare(text).unwrap();
        assert_eq!(config.socket_path(), Some("/run/pg/.s.PGSQL.5432".into()), "{text}");
        assert_eq!((config.dbname(), config.user()), ("shop", "os"));
    }
}

#[test]
fn key_value_strings_quote_and_escape() {
    let config = bare(r"host = db1 user='it''s' ").unwrap_err();
    assert_eq!(config.kind(), ErrorKind::Config);
    let config = bare(r"host = db1 user='it\'s me' password=a\ b\\ port=1").unwrap();
    assert_eq!(config.user(), "it's me");
    assert_eq!(config.password().unwrap().expose(), r"a b\");
    assert_eq!(config.port(), 1);
}

#[test]
fn environment_fills_only_what_is_missing() {
    let env = [
        ("PGHOST", "envhost"),
        ("PGPORT", "7"),
        ("PGUSER", "eu"),
        ("PGPASSWORD", "pw"),
        ("PGSSLMODE", "require"),
    ];
    let config = with_env("postgres://u@h/d", &env).unwrap();
    assert_eq!((config.host(), config.port(), config.user()), ("h", 7, "u"));
    assert_eq!(config.password().unwrap().expose(), "pw");
    assert_eq!(config.sslmode(), SslMode::Require);
    assert_eq!(with_env("", &env).unwrap().host(), "envhost");
    assert!(with_env("", &[("PGPORT", "x"), ("USER", "u")]).unwrap_err().to_string().contains("PGPORT"));
}

#[test]
fn refuses_what_cannot_work_and_says_what_to_do() {
    for (text, says) in [
        ("mysql://u@h/d", "must begin with postgres://"),
        ("postgres://u@h1,h2/d", "one host"),
        ("host=a,b", "one host"),
        ("postgres://u@::1/d", "brackets"),
        ("postgres://u@h:0/d", "between 1 and 65535"),
        ("postgres://u@h:99999/d", "between 1 and 65535"),
        ("postgres://u@h/d?sslmode=maybe", "unknown sslmode"),
        ("postgres://u@h/d?sslmode=allow", "write prefer"),
        ("postgres://u@h/d?sslmode=verify-full", "sslrootcert is missing"),
        ("postgres://u@h/d?sslmode=require&sslrootcert=system", "verify-full"),
        ("postgres://u@h/d?sslcert=/x", "together"),
        ("postgres://u@h/d?service=x", "`service` is not supported"),
        ("postgres://u@h/d?slot=Upper", "lower case letters"),
        ("postgres://u@h/d?schema=pg_zdm", "choose another name"),
        ("postgres://u@h/d?connect_timeout=0", "more than zero"),
        ("postgres://u@h/d?answer_timeout=0", "more than zero"),
        ("postgres://u%00@h/d", "zero byte"),
        ("postgres://u%zz@h/d", "%25"),
        ("nonsense", "key=value"),
        ("user='open", "no end"),
    ] {
        let error = bare(text).unwrap_err();
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
    assert!(with_env("host=h", &[]).unwrap_err().to_string().contains("user is missing"));
    assert_eq!(bare("sslrootcert=system").unwrap().sslmode(), SslMode::VerifyFull);
}

#[test]
fn a_password_shows_nowhere() {
    // Unencoded, misplaced or whole: no error and no output shows it.
    for text in [
        "postgres://u:hun/ter2@h/d",
        "postgres://u:hun?ter2@h/d",
        "postgres://u:hunter2@h:x/d",
        "postgres://u:hunter2%@h/d",
        "host=h password=a hunter2=3",
        "host=h port=hunter2",
    ] {
        let error = bare(text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hun") && !shown.contains("ter2"), "{text}: {shown}");
    }
    let config = bare("postgres://u:hunter2@h/d").unwrap();
    let json = serde_json::to_string(&config).unwrap();
    assert!(!format!("{config:?} {config} {json}").contains("hunter2"));
}

#[test]
fn serde_checks_and_refuses_unknown_fields() {
    let config: PgConfig = serde_json::from_str(
        r#"{"host":"h","user":"u","password":"p","sslmode":"verify-full","sslrootcert":"system","status_interval":0.5}"#,
    )
    .unwrap();
    assert_eq!(config.password().unwrap().expose(), "p");
    assert_eq!(config.status_interval(), Duration::from_millis(500));
    let again: PgConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
    assert_eq!(again.to_string(), config.to_string());
    assert_eq!(again.sslrootcert(), Some(&RootCert::System));
    assert!(serde_json::from_str::<PgConfig>(r#"{"user":"u","hots":"h"}"#).is_err());
    assert!(serde_json::from_str::<PgConfig>(r#"{"user":"u","port":0}"#).is_err());
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in ".*", url in any::<bool>()) {
        let _ = bare(&if url { format!("postgres://{text}") } else { text });
    }

    #[test]
    fn percent_encoding_carries_any_password(password in "[^\0]+") {
        let encoded: String = password.bytes().map(|b| format!("%{b:02X}")).collect();
        let config = bare(&format!("postgres://u:{encoded}@h/d")).unwrap();
        prop_assert_eq!(config.password().unwrap().expose(), password);
    }
}
