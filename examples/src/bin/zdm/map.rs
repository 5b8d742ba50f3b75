//! The file of `--map`: what a conversion to another engine shall do
//! otherwise, and other names within one engine.

use zdm_core::schema::conversion::{Mapping, Report};
use zdm_core::{Error, ErrorKind, Result};

use crate::args::Common;
use crate::output::Output;

/// Reads the file, if one was given.
pub(crate) fn mapping(common: &Common) -> Result<Mapping> {
    let Some(path) = &common.map else { return Ok(Mapping::new()) };
    let wrong = |message: &str| Error::new(ErrorKind::Config, message).with("--map", path.display());
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong("the mapping cannot be read").caused_by(error))?;
    let mapping: Mapping =
        toml::from_str(&text).map_err(|error| wrong(&format!("the mapping is not understood: {error}")))?;
    mapping.check().map_err(|error| error.with("--map", path.display()))?;
    Ok(mapping)
}

/// Shows what the conversion keeps, changes and leaves behind.
pub(crate) fn show(report: Option<&Report>, output: Output) {
    if let Some(report) = report {
        let object = serde_json::to_value(report).unwrap_or_default();
        output.say("conversion", object, report.to_string());
    }
}

#[cfg(test)]
mod tests {
    use zdm_core::schema::conversion::{Policies, Unfit};

    use super::*;

    #[test]
    fn a_mapping_is_read_as_the_docs_write_it() {
        let text = r#"
            [schemas]
            shop = "public"
            [types]
            "tinyint(1)" = "boolean"
            [tables."shop.users"]
            name = "app.customers"
            drop = ["legacy_flag"]
            [tables."shop.users".columns.email]
            name = "mail"
            type = "varchar(320)"
            [policies]
            zero_date = "null"
        "#;
        let mut policies = Policies::default();
        policies.zero_date = Unfit::Null;
        let expected = Mapping::new()
            .schema("shop", "public")
            .data_type("tinyint(1)", "boolean")
            .rename_table("shop.users", "app.customers")
            .drop_column("shop.users", "legacy_flag")
            .rename_column("shop.users", "email", "mail")
            .column_type("shop.users", "email", "varchar(320)")
            .policies(policies);
        assert_eq!(toml::from_str::<Mapping>(text).unwrap(), expected);
        assert!(toml::from_str::<Mapping>("[polices]").is_err(), "a slip is told");
    }
}
