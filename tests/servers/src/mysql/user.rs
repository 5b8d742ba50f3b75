//! People who log in, and how they prove who they are.

use super::database::{literal, quote};
use super::options::Flavor;

/// The library with the plugin of [`AuthPlugin::Ed25519`].
pub(crate) const ED25519: &str = "auth_ed25519";

/// How a user proves who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AuthPlugin {
    /// Whatever the server does by itself.
    #[default]
    Default,
    /// `mysql_native_password`, which MySQL has up to 8.4.
    Native,
    /// `caching_sha2_password`, of MySQL.
    CachingSha2,
    /// `ed25519`, of MariaDB, which loads it where
    /// [`MySqlOptions::user`](super::MySqlOptions::user) asks for it.
    Ed25519,
}

/// A user for a test, who may do everything unless told otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
    /// How it is proved.
    pub plugin: AuthPlugin,
    /// What follows `GRANT`, up to `TO`: `SELECT ON shop.*`.
    pub rights: Option<String>,
}

impl User {
    /// A user with a password and every right.
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            password: password.into(),
            plugin: AuthPlugin::Default,
            rights: Some("ALL PRIVILEGES ON *.*".into()),
        }
    }

    /// Chooses how the password is proved.
    #[must_use]
    pub fn plugin(mut self, plugin: AuthPlugin) -> Self {
        self.plugin = plugin;
        self
    }

    /// Has these rights instead of all: `SELECT, REPLICATION SLAVE ON *.*`.
    #[must_use]
    pub fn rights(mut self, rights: impl Into<String>) -> Self {
        self.rights = Some(rights.into());
        self
    }

    /// Has no rights but to log in.
    #[must_use]
    pub fn without_rights(mut self) -> Self {
        self.rights = None;
        self
    }

    /// The statements that create it, from any host.
    pub(crate) fn statements(&self, flavor: Flavor) -> Vec<String> {
        let account = format!("{}@'%'", quote(&self.name));
        let password = literal(&self.password);
        let proof = match (flavor, self.plugin) {
            (_, AuthPlugin::Default) => format!("BY {password}"),
            (Flavor::MySql, plugin) => format!("WITH {} BY {password}", plugin.name()),
            (Flavor::MariaDb, plugin) => format!("VIA {} USING PASSWORD({password})", plugin.name()),
        };
        let mut statements = vec![format!("CREATE USER {account} IDENTIFIED {proof}")];
        statements.extend(self.rights.iter().map(|rights| format!("GRANT {rights} TO {account}")));
        statements
    }
}

impl AuthPlugin {
    fn name(self) -> &'static str {
        match self {
            // What the server would do is asked for by not naming it.
            Self::Default => "",
            Self::Native => "mysql_native_password",
            Self::CachingSha2 => "caching_sha2_password",
            Self::Ed25519 => "ed25519",
        }
    }
}
