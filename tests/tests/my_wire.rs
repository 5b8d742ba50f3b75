//! Logins, TLS, settings and the dump of the binary log, against real servers.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::time::Duration;

use zdm_core::ErrorKind;
use zdm_mysql::config::{Compression, MySqlConfig, MySqlConfigBuilder, SslMode};
use zdm_mysql::probe::{Log, Replication, Sql};
use zdm_servers::TlsMode;
use zdm_servers::mysql::{AuthPlugin, Flavor, MySql, MySqlOptions, User};

/// Long enough for a loaded machine; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every kind of server that zdm is tested with.
fn each() -> [MySqlOptions; 3] {
    [
        MySqlOptions::mariadb().version("10.11"),
        MySqlOptions::mariadb().version("11.8"),
        MySqlOptions::mysql().version("9"),
    ]
}

fn config(server: &MySql) -> MySqlConfigBuilder {
    let builder = MySqlConfig::builder().host(server.host()).port(server.port()).user(server.user());
    match server.password() {
        Some(password) => builder.password(password),
        None => builder,
    }
}

/// Logs in over both of our connections: what each says of the user and of TLS.
async fn log_in(config: &MySqlConfig) -> zdm_core::Result<[(String, bool); 2]> {
    let mut replication = Replication::connect(config).await?;
    let mut sql = Sql::connect(config).await?;
    let who = "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)";
    let cipher =
        "SELECT VARIABLE_VALUE FROM information_schema.session_status WHERE VARIABLE_NAME = 'Ssl_cipher'";
    let cipher = if sql.server().starts_with("MySQL") {
        cipher.replace("information_schema", "performance_schema")
    } else {
        cipher.to_owned()
    };
    let first = replication.query(who).await?.remove(0).unwrap();
    let first_tls = replication.query(&cipher).await?.remove(0).is_some_and(|cipher| !cipher.is_empty());
    let second = sql.value(who).await?.unwrap();
    let second_tls = sql.value(&cipher).await?.is_some_and(|cipher| !cipher.is_empty());
    Ok([(first, first_tls), (second, second_tls)])
}

fn users(flavor: Flavor) -> Vec<User> {
    let plugins: &[AuthPlugin] = match flavor {
        Flavor::MySql => &[AuthPlugin::Default, AuthPlugin::CachingSha2],
        Flavor::MariaDb => &[AuthPlugin::Default, AuthPlugin::Native, AuthPlugin::Ed25519],
    };
    plugins
        .iter()
        .enumerate()
        .map(|(n, plugin)| User::new(format!("user{n}"), "sécret p@ss").plugin(*plugin))
        .chain([User::new("empty", "")])
        .collect()
}

#[tokio::test]
async fn every_plugin_logs_in_with_and_without_tls() {
    for options in each() {
        let users = users(options.flavor());
        let options = users.iter().fold(options, |options, user| options.user(user.clone()));
        let server = MySql::start(options.tls(TlsMode::Offered)).await.unwrap();
        let authority = server.tls().unwrap().ca();
        for user in &users {
            let with = |mode| {
                let config = config(&server).user(&user.name).password(user.password.as_str()).ssl_mode(mode);
                config.host("localhost").ssl_ca(authority.clone())
            };
            for mode in [
                SslMode::Disabled,
                SslMode::Preferred,
                SslMode::Required,
                SslMode::VerifyCa,
                SslMode::VerifyIdentity,
            ] {
                // Fast from the second time on: the server remembers.
                for time in 0..2 {
                    if server.flavor() == Flavor::MySql && time == 0 {
                        server.execute("FLUSH PRIVILEGES").await.unwrap();
                    }
                    for compression in [None, Some(Compression::Zlib)] {
                        let config = match compression {
                            Some(compression) => with(mode).compression(compression),
                            None => with(mode),
                        };
                        let found = log_in(&config.build().unwrap()).await;
                        let found =
                            found.unwrap_or_else(|e| panic!("{user:?} {mode} {time} {compression:?}: {e}"));
                        let tls = mode != SslMode::Disabled;
                        assert_eq!(found, [(user.name.clone(), tls), (user.name.clone(), tls)], "{mode}");
                    }
                }
            }
            if user.password.is_empty() {
                continue;
            }
            let wrong = with(SslMode::Required).password("wr0ng").build().unwrap();
            for error in
                [Replication::connect(&wrong).await.unwrap_err(), Sql::connect(&wrong).await.unwrap_err()]
            {
                assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
                assert!(!format!("{error} {error:?}").contains("wr0ng"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_refused() {
    for options in each() {
        let server = MySql::start(options.clone().tls(TlsMode::Offered)).await.unwrap();
        let other = MySql::start(options.tls(TlsMode::Offered)).await.unwrap();
        let (right, wrong) = (server.tls().unwrap().ca(), other.tls().unwrap().ca());
        for (mode, host, authority, accepted) in [
            (SslMode::Required, "127.0.0.1", &wrong, true),
            (SslMode::VerifyCa, "127.0.0.1", &wrong, false),
            (SslMode::VerifyIdentity, "localhost", &wrong, false),
            (SslMode::VerifyIdentity, "localhost", &right, true),
            // Leads to the same server; no certificate has that name.
            (SslMode::VerifyIdentity, "0.0.0.0", &right, false),
            (SslMode::VerifyCa, "0.0.0.0", &right, true),
        ] {
            let config = config(&server).host(host).ssl_mode(mode).ssl_ca(authority.clone()).build().unwrap();
            let outcomes =
                [Replication::connect(&config).await.map(drop), Sql::connect(&config).await.map(drop)];
            for outcome in outcomes {
                match outcome {
                    Ok(()) => assert!(accepted, "{mode} {host}"),
                    Err(error) => {
                        assert!(!accepted, "{mode} {host}: {error}");
                        assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
                    }
                }
            }
        }
    }
}
