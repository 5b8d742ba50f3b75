//! The catalog, and the language of schemas.

pub(crate) mod dialect;
