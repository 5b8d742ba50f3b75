//! Fetches a MySQL or a MariaDB out of the packages of Debian or Ubuntu.

use super::options::Flavor;
use super::programs::{Programs, matches};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::packages::{Apt, Root, Suite, suites};

/// Which suite is known to have what: looked at first, to spare a list of
/// packages each for the others. Where it has moved on, they are looked at too.
const KNOWN: [(Flavor, &str, &str); 5] = [
    (Flavor::MariaDb, "10.5", "bullseye"),
    (Flavor::MariaDb, "10.11", "bookworm"),
    (Flavor::MariaDb, "11.8", "trixie"),
    (Flavor::MySql, "", "sid"),
    (Flavor::MySql, "9", "sid"),
];

/// The wanted version, or the first that a suite has, out of the cache or from
/// a mirror.
pub(crate) fn fetch(flavor: Flavor, wanted: Option<&str>) -> Result<Programs> {
    let known = |suite: &Suite| {
        KNOWN.iter().any(|&(of, version, name)| {
            of == flavor && name == suite.name() && wanted.is_none_or(|wanted| matches(wanted, version))
        })
    };
    let mut suites = suites()?;
    if flavor == Flavor::MySql || wanted.is_some() {
        // Stable: the rest stay as they are, this system's own in front.
        suites.sort_by_key(|suite| !known(suite));
    }
    let mut refusals = String::new();
    for suite in &suites {
        match of_suite(suite, flavor, wanted) {
            Ok(programs) => return Ok(programs),
            Err(error) => refusals.push_str(&format!("\n  - {suite}: {error}")),
        }
    }
    Err(Error::new(format!("fetching {flavor} {}", wanted.unwrap_or_default())).because(refusals))
}

fn of_suite(suite: &Suite, flavor: Flavor, wanted: Option<&str>) -> Result<Programs> {
    let entry = format!("apt-{}-{suite}", flavor.to_string().to_lowercase());
    let dir = Cache::open()?.entry(&entry, |partial| {
        let state = partial.join("apt");
        let apt = Apt::open(suite, &state)?;
        let (server, version) = server(&apt, flavor)?;
        if wanted.is_some_and(|wanted| !matches(upstream(&version), wanted)) {
            return Err(Error::new(format!("looking for {flavor}")).because(format!("it has {version}")));
        }
        let client = server.replace("server", "client");
        let without_core = [&server, &client].map(|name| name.replace("-core", ""));
        // Plugins (`ed25519`) and some clients (`mariadb-binlog`) are in
        // packages that would pull in what a throwaway server has no use for.
        let alone: &[&str] = match flavor {
            Flavor::MariaDb => &[&without_core[0], &without_core[1]],
            Flavor::MySql => &[],
        };
        apt.unpack(&[&server, &client], alone, partial)?;
        // What does not run is not kept.
        Programs::unpacked(Root::open(partial)?).map(drop)
    })?;
    let programs = Programs::unpacked(Root::open(&dir)?)?;
    match programs.is(wanted) {
        true => Ok(programs),
        false => Err(Error::new("looking into the cache").because(format!("it has {}", programs.version))),
    }
}

/// The package with the server, and its version. Ubuntu and older Debians put
/// the version into the name.
fn server(apt: &Apt<'_>, flavor: Flavor) -> Result<(String, String)> {
    let stem = format!("{}-server-core", flavor.to_string().to_lowercase());
    for name in apt.names(&format!("^{stem}(-[0-9.]+)?$"))? {
        if let Some(version) = apt.version(&name)? {
            return Ok((name, version));
        }
    }
    Err(Error::new(format!("looking for {stem}")).because("this suite has no such package"))
}

/// `10.11.18` of `1:10.11.18-0+deb12u1`, or of `11.8.9+ds-4`.
fn upstream(version: &str) -> &str {
    let after = version.split_once(':').map_or(version, |(_, after)| after);
    let end = after.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(after.len());
    &after[..end]
}

#[cfg(test)]
mod tests {
    use super::upstream;

    #[test]
    fn what_debian_adds_to_a_version_is_left_out() {
        assert_eq!(upstream("1:10.11.18-0+deb12u1"), "10.11.18");
        assert_eq!(upstream("1:11.8.9+ds-4"), "11.8.9");
        assert_eq!(upstream("9.7.4-2"), "9.7.4");
    }
}
