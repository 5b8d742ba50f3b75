//! The suites of packages that can be had from the machine's own mirror.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::no_apt;
use crate::command::run;
use crate::error::Result;

/// Debian's suites, the oldest first.
const DEBIAN: [&str; 4] = ["bullseye", "bookworm", "trixie", "sid"];

/// One suite of the machine's mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suite {
    name: String,
    /// The machine's sources of its own release, with this suite in each.
    sources: Vec<Stanza>,
}

impl Suite {
    /// Its name, such as `bookworm`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The contents of a `.sources` file, for each source that may have it.
    ///
    /// Which of them is a mirror, and which belongs to somebody who packs a
    /// program or two for the same release, only the keys can tell.
    pub(crate) fn sources(&self) -> impl Iterator<Item = String> {
        self.sources.iter().map(|stanza| {
            stanza.iter().fold(String::new(), |mut text, (name, value)| {
                let _ = writeln!(text, "{name}: {value}");
                text
            })
        })
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The suite that this machine runs, and, where that is Debian's, the others.
pub(crate) fn suites() -> Result<Vec<Suite>> {
    let release = fs::read_to_string("/etc/os-release").map_err(no_apt)?;
    let architecture =
        run(Command::new("dpkg").arg("--print-architecture"), || "asking dpkg for the architecture".into())
            .map_err(no_apt)?;
    let suites = derive(&release, &stanzas(), architecture.trim(), |path| Path::new(path).exists());
    match suites.is_empty() {
        true => Err(no_apt("no source there is of this system's own release")),
        false => Ok(suites),
    }
}

/// A source: its fields by name.
type Stanza = BTreeMap<String, String>;

fn derive(
    release: &str,
    stanzas: &[Stanza],
    architecture: &str,
    exists: impl Fn(&str) -> bool,
) -> Vec<Suite> {
    let of = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    // sid has no code name of its own in there, or that of the next release.
    let (id, own) = (of("ID"), of("VERSION_CODENAME"));
    let main = |stanza: &&Stanza| {
        let has = |field: &str, wanted: &dyn Fn(&str) -> bool| {
            stanza.get(field).is_some_and(|value| value.split_whitespace().any(wanted))
        };
        has("Types", &|kind| kind == "deb")
            && has("Components", &|component| component == "main")
            && !stanza.get("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"))
            && !has("URIs", &|uri| {
                uri.starts_with("cdrom:") || uri.trim_end_matches('/').ends_with("-security")
            })
            && has("Suites", &|suite| match id.as_str() {
                "debian" => {
                    suite == own
                        || DEBIAN.contains(&suite)
                        || ["stable", "oldstable", "testing", "unstable"].contains(&suite)
                }
                _ => suite == own,
            })
    };
    let found: Vec<&Stanza> = stanzas.iter().filter(main).collect();
    if found.is_empty() {
        return Vec::new();
    }
    let mut names = vec![own.as_str()];
    if id == "debian" {
        names.retain(|name| DEBIAN.contains(name));
        names.extend(DEBIAN.iter().filter(|&&name| name != own));
    }
    // The key of one release does not sign the others, this one holds them all.
    let keyring = ["pgp", "gpg"].map(|end| format!("/usr/share/keyrings/{id}-archive-keyring.{end}"));
    let keyring = keyring.into_iter().find(|path| exists(path));
    let suite = |name: &str| {
        let source = |stanza: &Stanza| {
            let mut stanza = stanza.clone();
            stanza.insert("Types".into(), "deb".into());
            stanza.insert("Suites".into(), name.into());
            stanza.insert("Architectures".into(), architecture.into());
            // Of all the lists, that of packages is enough.
            stanza.insert("Targets".into(), "Packages".into());
            if let Some(keyring) = &keyring {
                stanza.insert("Signed-By".into(), keyring.clone());
            }
            stanza
        };
        Suite { name: name.into(), sources: found.iter().copied().map(source).collect() }
    };
    names.into_iter().map(suite).collect()
}

/// All that the machine's own source files say, in one form.
fn stanzas() -> Vec<Stanza> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut more: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        more.sort();
        files.extend(more);
    }
    let mut stanzas = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => stanzas.extend(paragraphs(&text)),
            Some("list") => stanzas.extend(text.lines().filter_map(one_line)),
            _ => {}
        }
    }
    stanzas
}

/// The paragraphs of a `.sources` file (`sources.list(5)`, deb822 style).
fn paragraphs(text: &str) -> Vec<Stanza> {
    let mut stanzas = vec![Stanza::new()];
    let mut field = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let last = stanzas.len() - 1;
        if line.trim().is_empty() {
            stanzas.push(Stanza::new());
        } else if line.starts_with([' ', '\t']) {
            // A further line of the same field, such as of a key in the file.
            if let Some(value) = stanzas[last].get_mut(&field) {
                let _ = write!(value, "\n{line}");
            }
        } else if let Some((name, value)) = line.split_once(':') {
            field = canonical(name.trim());
            stanzas[last].insert(field.clone(), value.trim().into());
        }
    }
    stanzas.retain(|stanza| !stanza.is_empty());
    stanzas
}

/// `deb [option=value …] uri suite component …`, as the fields that it stands for.
fn one_line(line: &str) -> Option<Stanza> {
    let mut rest = line.split('#').next()?.trim().strip_prefix("deb ")?.trim();
    let mut stanza = Stanza::from([("Types".into(), "deb".into())]);
    if let Some((options, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        for (name, value) in options.split_whitespace().filter_map(|option| option.split_once('=')) {
            stanza.insert(canonical(name), value.replace(',', " "));
        }
        rest = after.trim();
    }
    let mut words = rest.split_whitespace();
    stanza.insert("URIs".into(), words.next()?.into());
    stanza.insert("Suites".into(), words.next()?.into());
    stanza.insert("Components".into(), words.collect::<Vec<_>>().join(" "));
    Some(stanza)
}

/// One spelling for each field, which apt reads in any.
fn canonical(name: &str) -> String {
    let known = ["Types", "URIs", "Suites", "Components", "Signed-By", "Architectures", "Targets", "Enabled"];
    let long = match name.to_ascii_lowercase().as_str() {
        "arch" => "Architectures".to_owned(),
        "target" => "Targets".to_owned(),
        _ => name.to_owned(),
    };
    known.iter().find(|known| known.eq_ignore_ascii_case(&long)).map_or(long, |&known| known.into())
}

#[cfg(test)]
mod tests {
    use super::{derive, one_line, paragraphs};

    const RELEASE: &str = "ID=debian\nVERSION_CODENAME=bookworm\n";

    #[test]
    fn debian_has_its_own_suite_first_and_then_the_others() {
        let text = "# a mirror\nTypes: deb deb-src\nURIs: http://m.example/debian\nSuites: bookworm bookworm-updates\n\
             components: main contrib\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://m.example/debian-security\n\
             Suites: bookworm-security\nComponents: main\n";
        let suites = derive(RELEASE, &paragraphs(text), "amd64", |path| path.ends_with(".gpg"));
        let names: Vec<&str> = suites.iter().map(super::Suite::name).collect();
        assert_eq!(names, ["bookworm", "bullseye", "trixie", "sid"]);
        assert_eq!(
            suites[3].sources().collect::<Vec<_>>(),
            ["Architectures: amd64\nComponents: main contrib\n\
              Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\nSuites: sid\n\
              Targets: Packages\nTypes: deb\nURIs: http://m.example/debian\n"]
        );
    }

    #[test]
    fn a_line_stands_for_a_paragraph_and_other_systems_have_one_suite() {
        let lines = "deb cdrom:[x]/ noble main\n# deb http://a.example/u noble main\n\
             deb [arch=amd64,i386 signed-by=/k.gpg] http://m.example/u noble main universe # mine\n";
        let stanzas: Vec<_> = lines.lines().filter_map(one_line).collect();
        let suites = derive("ID=ubuntu\nVERSION_CODENAME=\"noble\"\n", &stanzas, "arm64", |_| false);
        assert_eq!(suites.len(), 1);
        assert_eq!(
            suites[0].sources().collect::<Vec<_>>(),
            ["Architectures: arm64\nComponents: main universe\nSigned-By: /k.gpg\nSuites: noble\n\
              Targets: Packages\nTypes: deb\nURIs: http://m.example/u\n"]
        );
    }

    #[test]
    fn a_key_in_the_file_stays_whole() {
        let text = "Types: deb\nSigned-By:\n -----BEGIN\n .\n AbC\nSuites: sid\n";
        let stanza = &paragraphs(text)[0];
        assert_eq!(stanza["Signed-By"], "\n -----BEGIN\n .\n AbC");
        assert_eq!(stanza["Suites"], "sid");
    }

    #[test]
    fn a_source_of_something_else_is_not_a_mirror() {
        let stanzas: Vec<_> =
            ["deb http://m.example/apt cloud-sdk main", "deb http://m.example/node nodistro main"]
                .iter()
                .filter_map(|line| one_line(line))
                .collect();
        assert_eq!(stanzas.len(), 2);
        assert_eq!(derive(RELEASE, &stanzas, "amd64", |_| true), []);
    }
}
