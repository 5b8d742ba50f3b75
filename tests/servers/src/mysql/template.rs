//! Data folders by copy: each server fills one once.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::path::Path;

use super::conf;
use super::options::Flavor;
use super::programs::Programs;
use crate::account::Account;
use crate::cache::Cache;
use crate::command::run;
use crate::error::{Doing, Error, Result};
use crate::folder;

/// Changes when what is done below does.
const EPOCH: u32 = 2;

/// Makes `into`, which must not exist, a fresh data folder, whose superuser is
/// `root`, from anywhere and without a password.
pub(crate) fn copy_to(programs: &Programs, into: &Path) -> Result<()> {
    let account = Account::of_servers();
    let mut hash = DefaultHasher::new();
    (EPOCH, &programs.version, programs.share(), account.uid).hash(&mut hash);
    let flavor = programs.flavor.to_string().to_lowercase();
    let entry = format!("template-{flavor}-{}-{:016x}", programs.number, hash.finish());
    let template = Cache::open()?.entry(&entry, |partial| {
        account.give(partial)?;
        match programs.flavor {
            Flavor::MySql => mysql(programs, partial),
            Flavor::MariaDb => mariadb(programs, partial),
        }
    })?;
    folder::copy(&template.join("data"), into, account)
}

fn mysql(programs: &Programs, dir: &Path) -> Result<()> {
    let init = dir.join("init.sql");
    write(
        &init,
        "CREATE USER root@'%' IDENTIFIED BY '';\nGRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;\n",
    )?;
    let conf = conf::of_template(programs, dir)?;
    let mut server = programs.command();
    server.arg(format!("--defaults-file={}", conf.display()));
    server.arg("--initialize-insecure").arg(format!("--init-file={}", init.display()));
    run(&mut server, || format!("creating a data folder of {}", programs.version))?;
    // It holds the identity of the server, and each shall have its own.
    let identity = dir.join("data/auto.cnf");
    fs::remove_file(&identity).doing(|| format!("removing {}", identity.display()))
}

/// What `mariadb-install-db` does, which needs an installed one.
fn mariadb(programs: &Programs, dir: &Path) -> Result<()> {
    let mut sql = String::from("create database mysql;\nuse mysql;\n");
    // The GIS file uses tables that the first ones make.
    for (name, needed) in [
        ("mysql_system_tables.sql", true),
        ("mysql_performance_tables.sql", false),
        ("mysql_system_tables_data.sql", true),
        ("maria_add_gis_sp_bootstrap.sql", true),
        ("mysql_sys_schema.sql", false),
    ] {
        // Newer ones have these under names of their own.
        let files =
            [name.replace("mysql_", "mariadb_"), name.to_owned()].map(|name| programs.share().join(name));
        match files.iter().find(|path| path.is_file()) {
            Some(path) => {
                sql.push_str(&fs::read_to_string(path).doing(|| format!("reading {}", path.display()))?);
                sql.push('\n');
            }
            None if needed => {
                return Err(Error::new(format!("looking for {}", files[1].display()))
                    .because("this MariaDB comes without it")
                    .advise("install the package mariadb-server-core, which has it"));
            }
            None => {}
        }
    }
    sql.push_str(
        "replace into mysql.global_priv select '%', User, Priv from mysql.global_priv \
         where User = 'root' and Host = 'localhost';\n",
    );
    let path = dir.join("init.sql");
    write(&path, &sql)?;
    fs::create_dir(dir.join("data")).doing(|| "creating a data folder".into())?;
    Account::of_servers().give(&dir.join("data"))?;
    let conf = conf::of_template(programs, dir)?;
    let mut server = programs.command();
    server.arg(format!("--defaults-file={}", conf.display())).arg("--bootstrap");
    server.stdin(File::open(&path).doing(|| format!("reading {}", path.display()))?);
    let said = run(&mut server, || format!("creating a data folder of {}", programs.version))?;
    drop(said);
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    File::create(path).and_then(|mut file| file.write_all(text.as_bytes())).doing(doing)?;
    Account::of_servers().give(path)
}
