//! What every connector needs to reach its server, and what is the same for
//! all of them: a [`Secret`], a [URL](parse_url), [whom to trust](RootCert),
//! and with the feature `tls` a [handshake](Tls) by rustls.
//!
//! Nothing here knows a protocol. A connector that brings a driver of its own
//! needs none of it.

mod root;
mod secret;
#[cfg(feature = "tls")]
mod tls;
mod url;

pub use root::RootCert;
pub use secret::Secret;
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsWords, Verify};
pub use url::parse_url;
