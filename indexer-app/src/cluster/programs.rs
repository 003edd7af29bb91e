//! The machine's PostgreSQL programs: where they are and which of them to use.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::ClusterError;

/// Oldest major version whose behaviour this program relies on: 13 is the first in which every process notices at once
/// that the server has died, so that it can be started again.
pub(super) const MAJOR_MIN: u32 = 13;

/// Folders of versions, newest of them first: Debian, Red Hat, Homebrew on both kinds of Mac.
const VERSIONED: [(&str, &str, &str); 4] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
];

/// Other places.
const PLACES: [&str; 4] =
    ["/opt/homebrew/bin", "/usr/local/bin", "/usr/local/pgsql/bin", "/usr/libexec/postgresql"];

/// The programs of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Programs {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

impl Programs {
    /// The programs to use: those of the version that made the cluster if there is one, else of the first place that
    /// has any.
    pub(super) fn find(given: Option<&Path>, cluster: &Path) -> Result<Self, ClusterError> {
        let made_by =
            fs::read_to_string(cluster.join("PG_VERSION")).ok().and_then(|text| text.trim().parse().ok());
        let found: Vec<Self> = match given {
            Some(dir) => {
                vec![Self::at(dir).ok_or_else(|| ClusterError::NoProgramsIn(dir.to_owned()))?]
            }
            None => candidates(std::env::var_os("PATH").as_deref())
                .iter()
                .filter_map(|dir| Self::at(dir))
                .collect(),
        };
        choose(found, made_by, cluster)
    }

    fn at(dir: &Path) -> Option<Self> {
        if !dir.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
        Some(Self { dir: dir.to_owned(), major: major(&String::from_utf8_lossy(&output.stdout))? })
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }
}

fn choose(found: Vec<Programs>, made_by: Option<u32>, cluster: &Path) -> Result<Programs, ClusterError> {
    let versions: BTreeSet<String> = found.iter().map(|programs| programs.major.to_string()).collect();
    let mut usable = found.iter().filter(|programs| programs.major >= MAJOR_MIN);
    let chosen = match made_by {
        Some(made_by) => usable.find(|programs| programs.major == made_by),
        None => usable.next(),
    };
    if let Some(programs) = chosen {
        return Ok(programs.clone());
    }
    let hint = install_hint();
    Err(match (found.into_iter().max_by_key(|programs| programs.major), made_by) {
        (None, _) => ClusterError::NoPrograms { hint },
        (Some(newest), _) if newest.major < MAJOR_MIN => {
            ClusterError::ProgramsTooOld { dir: newest.dir, found: newest.major, needed: MAJOR_MIN, hint }
        }
        (Some(_), made_by) => ClusterError::OtherVersion {
            cluster: cluster.to_owned(),
            made_by: made_by.unwrap_or_default(),
            found: versions.into_iter().collect::<Vec<_>>().join(", "),
        },
    })
}

/// Directories that may have them, best first.
fn candidates(path: Option<&OsStr>) -> Vec<PathBuf> {
    let on_path: Vec<PathBuf> = path.map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
    let told = on_path.iter().map(|dir| dir.join("pg_config")).find(|program| program.is_file()).and_then(
        |program| {
            let output = Command::new(program).arg("--bindir").output().ok()?;
            Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
        },
    );
    let mut dirs = on_path;
    dirs.extend(told);
    for (folder, prefix, suffix) in VERSIONED {
        let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
                Some((version, entry.path().join(suffix)))
            })
            .collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        dirs.extend(versions.into_iter().map(|(_, dir)| dir));
    }
    dirs.extend(PLACES.map(PathBuf::from));
    dirs
}

/// `postgres (PostgreSQL) 15.3 (Debian 15.3-0)`
fn major(version: &str) -> Option<u32> {
    let number = version.split(')').nth(1)?.trim_start();
    let digits = number.split(|character: char| !character.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// How to install them on this machine.
fn install_hint() -> &'static str {
    if cfg!(target_os = "macos") {
        return "brew install postgresql";
    }
    hint_for(&fs::read_to_string("/etc/os-release").unwrap_or_default())
}

fn hint_for(os_release: &str) -> &'static str {
    let names = os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches('"').split_whitespace());
    for name in names {
        match name {
            "debian" | "ubuntu" => return "apt install postgresql",
            "fedora" | "rhel" | "centos" => return "dnf install postgresql-server",
            "arch" => return "pacman -S postgresql",
            "alpine" => return "apk add postgresql",
            "suse" | "opensuse" => return "zypper install postgresql-server",
            _ => {}
        }
    }
    "the package is called postgresql or postgresql-server"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(major: u32) -> Programs {
        Programs { dir: format!("/pg/{major}").into(), major }
    }

    fn chosen(found: &[u32], made_by: Option<u32>) -> Result<u32, String> {
        choose(found.iter().copied().map(programs).collect(), made_by, Path::new("/data/postgres"))
            .map(|programs| programs.major)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_place_wins_unless_another_version_made_the_cluster() {
        assert_eq!(chosen(&[15, 17], None), Ok(15));
        assert_eq!(chosen(&[15, 17], Some(17)), Ok(17));
        assert_eq!(chosen(&[12, 14], None), Ok(14));
    }

    #[test]
    fn each_reason_for_having_none_has_its_own_sentence() {
        assert!(chosen(&[], None).unwrap_err().contains("not on this machine; install them ("));
        assert!(
            chosen(&[9, 12], None)
                .unwrap_err()
                .starts_with("PostgreSQL 12 in /pg/12 is too old, 13 or newer")
        );
        let other = chosen(&[15, 16], Some(14)).unwrap_err();
        assert!(
            other.contains("made by PostgreSQL 14, but only version 15, 16 is on this machine"),
            "{other}"
        );
    }

    #[test]
    fn versions_of_all_vendors_are_read() {
        assert_eq!(major("postgres (PostgreSQL) 15.3 (Debian 15.3-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major("postgres (PostgreSQL) 9.6.24"), Some(9));
        assert_eq!(major("something else"), None);
    }

    #[test]
    fn the_hint_is_that_of_the_distribution_or_of_its_parent() {
        assert_eq!(hint_for("NAME=x\nID=debian\n"), "apt install postgresql");
        assert_eq!(hint_for("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), "apt install postgresql");
        assert_eq!(hint_for("ID=alpine"), "apk add postgresql");
        assert!(hint_for("").contains("postgresql"));
    }
}
