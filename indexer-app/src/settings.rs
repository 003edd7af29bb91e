//! Settings: flags over environment over file over defaults, each value with where it came from.
//!
//! Every setting is one row of [`SETTINGS`]. Its name is the flag (`--min-sample-interval`), the key in the file
//! (`min-sample-interval = "300s"`) and, in capitals behind `INDEXER_`, the environment variable
//! (`INDEXER_MIN_SAMPLE_INTERVAL`). All three are read by the same parser, so they accept and refuse the same text.

mod parse;
mod profile;
mod table;

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use crate::db::Quotas;
use bittorrent::TransportSet;
use mainline::{ReadOnly, own_ids::MOVE_PAUSE};

pub use mainline::IdScheme;
use parse::{
    database_url, duration, host_port, one_line, or_off, parse_with, path, plain_text, ranged, read_only,
    sized, split, transport,
};
pub use parse::{parse_duration, parse_size};
pub use profile::{LOOPBACK_BUDGETS, Profile};
pub use table::{Definition, SETTINGS, Scope};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// This environment variable.
    Environment(String),
    /// This file.
    File(PathBuf),
    /// Nobody set it: the profile did.
    Profile(Profile),
    /// Nobody set it, and the program is bound to loopback alone.
    Loopback,
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("the command line"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Profile(profile) => write!(f, "profile {profile}"),
            Self::Loopback => f.write_str("default on loopback"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting that cannot be used, in one sentence.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The value is not of the setting's kind or out of its range.
    #[error("setting {name} from {origin}: {value:?} {problem}")]
    Value {
        /// The setting.
        name: &'static str,
        /// Where the value came from.
        origin: Origin,
        /// What was given.
        value: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// The file sets something that does not exist.
    #[error("file {path} sets {name:?}, which is no setting; `indexer config` lists them")]
    Unknown {
        /// The file.
        path: String,
        /// The key in it.
        name: String,
    },
    /// The file cannot be read or is not TOML.
    #[error("settings file {path}: {problem}")]
    File {
        /// The file.
        path: String,
        /// Why.
        problem: String,
    },
    /// Two settings contradict each other.
    #[error("{0}")]
    Conflict(String),
}

/// What was given for each setting, strongest layer only.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    values: BTreeMap<&'static str, (Vec<String>, Origin)>,
}

impl Layers {
    /// The defaults of the table, and those of the default profile.
    pub fn defaults() -> Self {
        let mut layers = Self::default();
        for definition in SETTINGS {
            if let Some(text) = definition.default {
                layers.values.insert(definition.name, (split(definition, text), Origin::Default));
            }
        }
        layers.adapt();
        layers
    }

    /// Lays the settings of a TOML file over what is there.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or sets something unknown.
    pub fn add_file(&mut self, path: &Path) -> Result<(), SettingError> {
        let problem = |problem: String| SettingError::File { path: path.display().to_string(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| problem(one_line(&error)))?;
        for (key, value) in table {
            let name = key.replace('_', "-");
            let definition = SETTINGS.iter().find(|definition| definition.name == name).ok_or_else(|| {
                SettingError::Unknown { path: path.display().to_string(), name: key.clone() }
            })?;
            let texts = match value {
                toml::Value::Array(items) if definition.list => {
                    items.iter().map(plain_text).collect::<Option<Vec<_>>>()
                }
                value => plain_text(&value).map(|text| split(definition, &text)),
            };
            let texts = texts.ok_or_else(|| problem(format!("{key} must be a text or a number")))?;
            self.values.insert(definition.name, (texts, Origin::File(path.to_owned())));
        }
        Ok(())
    }

    /// Lays the environment over what is there; `lookup` is `std::env::var` outside of tests.
    pub fn add_environment(&mut self, lookup: impl Fn(&str) -> Option<String>) {
        for definition in SETTINGS {
            let variable = variable_of(definition.name);
            if let Some(text) = lookup(&variable) {
                let texts = split(definition, &text);
                self.values.insert(definition.name, (texts, Origin::Environment(variable)));
            }
        }
    }

    /// Lays one flag over what is there.
    pub fn add_flag(&mut self, definition: &'static Definition, values: &[String]) {
        let values = values.iter().flat_map(|text| split(definition, text)).collect();
        self.values.insert(definition.name, (values, Origin::Flag));
    }

    /// Replaces a default: for commands that start from other defaults than the table's.
    pub fn set_default(&mut self, name: &'static str, value: &str) {
        self.fill(name, value, Origin::Default);
    }

    /// Once all layers are there: what nobody has chosen is as the profile says. Bound to loopback alone there is no line
    /// and no router to spare, so there it is as [`LOOPBACK_BUDGETS`] say, unless somebody has chosen the profile.
    pub fn adapt(&mut self) {
        // What is wrong with its name is said when the settings are resolved.
        let profile = self.single("profile", Profile::from_str).ok().flatten().unwrap_or(Profile::Home);
        for (name, value) in profile.settings() {
            self.fill(name, value, Origin::Profile(profile));
        }
        if self.on_loopback() {
            for (name, value) in LOOPBACK_BUDGETS {
                self.fill(name, value, Origin::Loopback);
            }
        }
    }

    /// Bound to loopback alone, and nobody has chosen a profile for it.
    fn on_loopback(&self) -> bool {
        let is_loopback = |text: &String| text.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let alone = self.values.get("bind").is_some_and(|(binds, _)| binds.iter().all(is_loopback));
        alone && self.origin("profile") == Origin::Default
    }

    /// Sets what nobody has chosen.
    fn fill(&mut self, name: &'static str, value: &str, origin: Origin) {
        if matches!(self.origin(name), Origin::Default | Origin::Profile(_) | Origin::Loopback) {
            self.values.insert(name, (vec![value.to_owned()], origin));
        }
    }

    /// Where the value of `name` came from.
    pub fn origin(&self, name: &str) -> Origin {
        self.values.get(name).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// Each setting with its value as text (passwords hidden) and where it came from, in the table's order.
    pub fn rows(&self, settings: &Settings) -> Vec<(&'static str, String, Origin)> {
        SETTINGS
            .iter()
            .map(|definition| {
                let text = match definition.name {
                    "data-dir" => settings.data_dir.display().to_string(),
                    "database-url" => {
                        settings.database_url.as_deref().map_or_else(String::new, hide_password)
                    }
                    "search-url" => settings.search_url.as_deref().map_or_else(String::new, hide_password),
                    name => self.values.get(name).map_or_else(String::new, |(texts, _)| texts.join(", ")),
                };
                (definition.name, text, self.origin(definition.name))
            })
            .collect()
    }

    fn single<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingError> {
        let Some((texts, origin)) = self.values.get(name) else { return Ok(None) };
        let text = texts.last().map_or("", String::as_str);
        parse(text).map(Some).map_err(|problem| SettingError::Value {
            name,
            origin: origin.clone(),
            value: text.to_owned(),
            problem,
        })
    }

    fn required<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, SettingError> {
        self.single(name, parse)?
            .ok_or_else(|| SettingError::Conflict(format!("setting {name} has no value and no default")))
    }

    fn list<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, SettingError> {
        let Some((texts, origin)) = self.values.get(name) else { return Ok(Vec::new()) };
        texts
            .iter()
            .map(|text| {
                parse(text).map_err(|problem| SettingError::Value {
                    name,
                    origin: origin.clone(),
                    value: text.clone(),
                    problem,
                })
            })
            .collect()
    }
}

/// A node to join through, its name not looked up yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Host name or address.
    pub host: String,
    /// UDP port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The settings, parsed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The private database and the identity.
    pub data_dir: PathBuf,
    /// Whether somebody chose the data directory.
    pub data_dir_given: bool,
    /// Whether the private database starts empty, whatever was in it.
    pub fresh_database: bool,
    /// A shared PostgreSQL instead of the private one.
    pub database_url: Option<String>,
    /// Another PostgreSQL that follows the one that is written to, for commands that read what is indexed.
    pub search_url: Option<String>,
    /// Where PostgreSQL's programs are.
    pub postgres_bin: Option<PathBuf>,
    /// Cache of the private database, bytes.
    pub shared_buffers: Option<u64>,
    /// Local addresses.
    pub bind: Vec<IpAddr>,
    /// First port.
    pub port: u16,
    /// Ports per address.
    pub ports: u16,
    /// Virtual nodes per port.
    pub nodes_per_port: u32,
    /// Threads that receive and send for the UDP ports.
    pub io_threads: usize,
    /// How ids are chosen.
    pub ids: IdScheme,
    /// How often a virtual node moves to another id.
    pub move_nodes: Option<Duration>,
    /// Whether we are read-only.
    pub read_only: ReadOnly,
    /// Where to join.
    pub bootstrap: Vec<HostPort>,
    /// Floor under advertised BEP 51 intervals.
    pub min_sample_interval: Duration,
    /// What the line and the machine can bear; `None`: bound to loopback alone, and nobody has chosen one.
    pub profile: Option<Profile>,
    /// Packets sent in all, per second.
    pub packets_per_second: u32,
    /// Bytes sent in all, per second.
    pub bytes_per_second: u32,
    /// New endpoints in all, per minute.
    pub endpoints_per_minute: u32,
    /// What peers are reached by.
    pub transports: TransportSet,
    /// uTP packets sent in all, per second.
    pub utp_packets_per_second: u32,
    /// Connects to peers in all, per minute.
    pub connects_per_minute: u32,
    /// Fetches at a time.
    pub fetches: usize,
    /// For one hash.
    pub fetch_timeout: Duration,
    /// Longest info dict that is kept byte for byte; `None`: none.
    pub keep_info_dicts: Option<usize>,
    /// Bytes of info dicts given to others, per second.
    pub give_rate: u32,
    /// Where peers may ask for info dicts; `None`: nowhere.
    pub accept_port: Option<u16>,
    /// Longest info dict, bytes.
    pub metadata_bytes_max: usize,
    /// Longest backlog, rows.
    pub backlog_max: u64,
    /// Most torrents.
    pub torrents_max: Option<u64>,
    /// Most bytes of the database.
    pub storage_max: Option<u64>,
    /// How long a torrent may be unseen.
    pub expire_unseen: Option<Duration>,
    /// Bytes that stay free on the disk.
    pub disk_free_min: u64,
    /// Nodes in memory.
    pub contacts_max: usize,
}

impl Settings {
    /// Parses the layers.
    ///
    /// # Errors
    /// The first value that cannot be used, with its setting and where it came from.
    pub fn resolve(layers: &Layers, default_data_dir: &Path) -> Result<Self, SettingError> {
        let data_dir = layers.single("data-dir", path)?;
        let bind = layers.list("bind", parse_with::<IpAddr>("is not an IP address"))?;
        let on_loopback = bind.iter().all(IpAddr::is_loopback);
        let bootstrap = if on_loopback && layers.origin("bootstrap") == Origin::Default {
            // From loopback nobody of the public DHT can be reached, and nobody should be tried.
            Vec::new()
        } else {
            layers.list("bootstrap", host_port)?
        };
        let settings = Self {
            data_dir_given: data_dir.is_some(),
            data_dir: data_dir.unwrap_or_else(|| default_data_dir.to_owned()),
            fresh_database: false,
            database_url: layers.single("database-url", database_url)?,
            search_url: layers.single("search-url", database_url)?,
            postgres_bin: layers.single("postgres-bin", path)?,
            shared_buffers: layers.single("shared-buffers", ranged::<u64>(1 << 20, 1 << 40))?,
            bind,
            port: layers.required("port", ranged::<u16>(0, 65535))?,
            ports: layers.required("ports", ranged::<u16>(1, 1024))?,
            nodes_per_port: layers.required("nodes-per-port", ranged::<u32>(1, 100_000))?,
            io_threads: layers.required("io-threads", ranged::<usize>(0, 64))?,
            ids: layers.required("ids", |text| match text {
                "bep42" => Ok(IdScheme::Bep42),
                "spread" => Ok(IdScheme::Spread),
                _ => Err("is neither bep42 nor spread".to_owned()),
            })?,
            move_nodes: layers.required("move-nodes", |text| match text {
                "off" => Ok(None),
                text => duration(MOVE_PAUSE, Duration::from_secs(30 * 86_400))(text).map(Some),
            })?,
            read_only: match layers.required("read-only", read_only)? {
                // There is no NAT on one's own machine, and a small swarm there may well have nobody who asks.
                ReadOnly::Auto if on_loopback => ReadOnly::Off,
                chosen => chosen,
            },
            bootstrap,
            min_sample_interval: layers.required(
                "min-sample-interval",
                duration(Duration::from_secs(1), Duration::from_secs(21600)),
            )?,
            profile: Some(layers.required("profile", Profile::from_str)?).filter(|_| !layers.on_loopback()),
            packets_per_second: layers.required("packets-per-second", ranged::<u32>(1, 1_000_000))?,
            bytes_per_second: layers.required("bytes-per-second", ranged::<u32>(2_000, 100_000_000))?,
            endpoints_per_minute: layers.required("endpoints-per-minute", ranged::<u32>(60, 10_000_000))?,
            transports: TransportSet::of(&layers.list("transports", transport)?),
            utp_packets_per_second: layers
                .required("utp-packets-per-second", ranged::<u32>(10, 1_000_000))?,
            connects_per_minute: layers.required("connects-per-minute", ranged::<u32>(10, 10_000_000))?,
            fetches: layers.required("fetches", ranged::<usize>(1, 20_000))?,
            fetch_timeout: layers
                .required("fetch-timeout", duration(Duration::from_secs(5), Duration::from_secs(600)))?,
            keep_info_dicts: layers.required("keep-info-dicts", or_off(ranged::<usize>(1, 268_435_456)))?,
            give_rate: layers.required("give-rate", ranged::<u32>(0, 100_000_000))?,
            accept_port: layers.required("accept-port", or_off(ranged::<u16>(0, 65535)))?,
            metadata_bytes_max: layers
                .required("metadata-bytes-max", ranged::<usize>(16_384, 268_435_456))?,
            backlog_max: layers.required("backlog-max", ranged::<u64>(1_000, 100_000_000))?,
            torrents_max: layers.required("torrents-max", or_off(ranged::<u64>(1_000, 10_000_000_000)))?,
            storage_max: layers.required("storage-max", or_off(sized(64 << 20, 1 << 50)))?,
            expire_unseen: layers.required("expire-unseen", or_off(duration(DAY, 3_650 * DAY)))?,
            disk_free_min: layers.required("disk-free-min", sized(0, 1 << 50))?,
            contacts_max: layers.required("contacts-max", ranged::<usize>(1_000, 20_000_000))?,
        };
        settings.check()?;
        Ok(settings)
    }

    /// What of the torrents is kept.
    pub fn quotas(&self) -> Quotas {
        Quotas {
            torrents_max: self.torrents_max,
            storage_bytes_max: self.storage_max,
            unseen_max: self.expire_unseen,
        }
    }

    /// Whether nothing but loopback can be reached from the addresses that it is bound to.
    pub fn loopback_only(&self) -> bool {
        self.bind.iter().all(IpAddr::is_loopback)
    }

    /// The local address of each port, in the order of the port indices.
    pub fn port_addresses(&self) -> Vec<std::net::SocketAddr> {
        let port_at = |index: u16| if self.port == 0 { 0 } else { self.port.saturating_add(index) };
        self.bind
            .iter()
            .flat_map(|ip| (0..self.ports).map(move |index| std::net::SocketAddr::new(*ip, port_at(index))))
            .collect()
    }

    /// Where connections are taken, one address for each that we are bound to.
    pub fn accept_addresses(&self) -> Vec<std::net::SocketAddr> {
        let port = self.accept_port;
        port.map_or_else(Vec::new, |port| self.bind.iter().map(|ip| (*ip, port).into()).collect())
    }

    fn check(&self) -> Result<(), SettingError> {
        let conflict = |text: String| Err(SettingError::Conflict(text));
        if self.bind.is_empty() {
            return conflict("setting bind is empty: give at least one address".to_owned());
        }
        if self.port != 0 && u32::from(self.port) + u32::from(self.ports) - 1 > 65_535 {
            return conflict(format!(
                "setting ports: {} ports from {} on end beyond 65535; choose a lower port",
                self.ports, self.port
            ));
        }
        for (index, ip) in self.bind.iter().enumerate() {
            if self.bind.iter().take(index).any(|earlier| earlier == ip) {
                return conflict(format!("setting bind names {ip} twice; give each address once"));
            }
        }
        if self.bind.iter().any(IpAddr::is_loopback) && !self.loopback_only() {
            return conflict(
                "setting bind mixes loopback with other addresses; a node is either on this machine alone or on the network"
                    .to_owned(),
            );
        }
        if self.accept_port.is_some() && self.give_rate == 0 {
            return conflict(
                "setting accept-port lets peers ask for info dicts, but setting give-rate is 0: give at least some bytes a second"
                    .to_owned(),
            );
        }
        if self.transports.is_empty() {
            return conflict("setting transports is empty: name at least one".to_owned());
        }
        let per_address = u64::from(self.nodes_per_port) * u64::from(self.ports);
        if self.ids == IdScheme::Bep42 && !self.loopback_only() && per_address > BEP42_IDS_PER_ADDRESS {
            return conflict(format!(
                "settings ports and nodes-per-port ask for {per_address} nodes on one address, but BEP 42 has \
                 {BEP42_IDS_PER_ADDRESS} ids for it: choose fewer, or --ids spread"
            ));
        }
        Ok(())
    }
}

/// A torrent that somebody has is seen many times in one: nodes give out their hashes again and again.
const DAY: Duration = Duration::from_secs(86_400);

/// BEP 42 derives the first 21 bits of an id from the address and three random bits.
const BEP42_IDS_PER_ADDRESS: u64 = 8;

/// The settings file that is read when none is named: `/etc/indexer.toml` for root, else in the XDG
/// configuration directory. `None` if it does not exist.
pub fn default_file(root: bool, lookup: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let path = if root {
        PathBuf::from("/etc/indexer.toml")
    } else {
        let home = || lookup("HOME").map(|home| Path::new(&home).join(".config"));
        lookup("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home)?.join("indexer.toml")
    };
    path.exists().then_some(path)
}

/// The environment variable of a setting.
pub fn variable_of(name: &str) -> String {
    format!("INDEXER_{}", name.replace('-', "_").to_uppercase())
}

/// A URL with its password replaced, for people to read.
pub fn hide_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.split_once('@') {
        Some((user, host)) => {
            let user = user.split_once(':').map_or(user.to_owned(), |(name, _)| format!("{name}:***"));
            format!("{scheme}://{user}@{host}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(layers: &Layers) -> Result<Settings, SettingError> {
        Settings::resolve(layers, Path::new("/nowhere"))
    }

    fn flag(layers: &mut Layers, name: &str, values: &[&str]) {
        let definition = SETTINGS.iter().find(|definition| definition.name == name).unwrap();
        let values: Vec<_> = values.iter().map(|value| (*value).to_owned()).collect();
        layers.add_flag(definition, &values);
    }

    #[test]
    fn the_defaults_are_usable() {
        let settings = resolve(&Layers::defaults()).unwrap();
        assert_eq!(settings.min_sample_interval, Duration::from_secs(300));
        assert_eq!(settings.bind, ["0.0.0.0".parse::<IpAddr>().unwrap()]);
        assert_eq!(settings.port_addresses().len(), 4);
        assert_eq!(settings.bootstrap.len(), 4);
        assert_eq!(settings.io_threads, 0);
    }

    #[test]
    fn transports_are_chosen_by_name_each_alone_or_with_commas() {
        use bittorrent::Transport::{EncryptedTcp, EncryptedUtp, Utp};
        let mut layers = Layers::defaults();
        let all = resolve(&layers).unwrap().transports;
        assert_eq!(all.iter().count(), 4);
        flag(&mut layers, "transports", &["utp,encrypted-tcp", "encrypted-utp"]);
        let chosen = resolve(&layers).unwrap().transports;
        assert_eq!(chosen, TransportSet::of(&[EncryptedTcp, Utp, EncryptedUtp]));
        flag(&mut layers, "transports", &["udp"]);
        let problem = resolve(&layers).unwrap_err().to_string();
        assert!(problem.ends_with("\"udp\" is none of tcp, encrypted-tcp, utp, encrypted-utp"), "{problem}");
        flag(&mut layers, "transports", &[""]);
        assert!(resolve(&layers).unwrap_err().to_string().contains("name at least one"));
    }

    #[test]
    fn threads_for_the_ports_have_a_range() {
        let mut layers = Layers::defaults();
        flag(&mut layers, "io-threads", &["64"]);
        assert_eq!(resolve(&layers).unwrap().io_threads, 64);
        flag(&mut layers, "io-threads", &["65"]);
        assert!(resolve(&layers).unwrap_err().to_string().ends_with("\"65\" is not a number from 0 to 64"));
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let directory = std::env::temp_dir().join(format!("indexer-settings-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("indexer.toml");
        std::fs::write(
            &file,
            "port = 1000\nports = 3\nfetches = \"7\"\nbootstrap = [\"a.example:1\", \"b.example:2\"]\n",
        )
        .unwrap();
        let mut layers = Layers::defaults();
        layers.add_file(&file).unwrap();
        layers.add_environment(|name| (name == "INDEXER_PORT").then(|| "2000".to_owned()));
        let settings = resolve(&layers).unwrap();
        assert_eq!((settings.port, settings.ports, settings.fetches), (2000, 3, 7));
        assert_eq!(settings.bootstrap.len(), 2);
        flag(&mut layers, "port", &["3000"]);
        assert_eq!(resolve(&layers).unwrap().port, 3000);
        assert_eq!(layers.origin("ports"), Origin::File(file.clone()));
        assert_eq!(layers.origin("nodes-per-port"), Origin::Default);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn an_error_names_the_setting_and_where_it_came_from() {
        let mut layers = Layers::defaults();
        layers.add_environment(|name| (name == "INDEXER_PORTS").then(|| "0".to_owned()));
        assert_eq!(
            resolve(&layers).unwrap_err().to_string(),
            "setting ports from environment variable INDEXER_PORTS: \"0\" is not a number from 1 to 1024"
        );
        let mut layers = Layers::defaults();
        flag(&mut layers, "min-sample-interval", &["soon"]);
        assert_eq!(
            resolve(&layers).unwrap_err().to_string(),
            "setting min-sample-interval from the command line: \"soon\" is not a duration such as 90s, 5m or 1h"
        );
    }

    #[test]
    fn a_loopback_node_never_uses_the_public_bootstrap_nodes() {
        let mut layers = Layers::defaults();
        flag(&mut layers, "bind", &["127.0.0.5"]);
        assert!(resolve(&layers).unwrap().bootstrap.is_empty());
        flag(&mut layers, "bootstrap", &["127.0.0.9:1"]);
        assert_eq!(resolve(&layers).unwrap().bootstrap, [HostPort { host: "127.0.0.9".into(), port: 1 }]);
    }

    #[test]
    fn on_loopback_the_budgets_that_nobody_chose_are_wide() {
        let mut layers = Layers::defaults();
        layers.adapt();
        assert_eq!(resolve(&layers).unwrap().packets_per_second, 150);
        flag(&mut layers, "bind", &["127.0.0.5"]);
        flag(&mut layers, "endpoints-per-minute", &["77"]);
        layers.adapt();
        let settings = resolve(&layers).unwrap();
        assert_eq!((settings.packets_per_second, settings.endpoints_per_minute), (4000, 77));
        assert_eq!((settings.bytes_per_second, settings.fetches), (4_000_000, 400));
        assert_eq!(layers.origin("packets-per-second"), Origin::Loopback);
        assert_eq!(settings.profile, None);
        // A profile that somebody chose holds there too.
        flag(&mut layers, "profile", &["vps"]);
        layers.adapt();
        let settings = resolve(&layers).unwrap();
        assert_eq!((settings.packets_per_second, settings.endpoints_per_minute), (1_000, 77));
        assert_eq!(settings.profile, Some(Profile::Vps));
    }

    #[test]
    fn a_profile_sets_what_nobody_has_chosen_and_says_so() {
        let mut layers = Layers::defaults();
        layers.add_environment(|name| match name {
            "INDEXER_PROFILE" => Some("server".to_owned()),
            "INDEXER_FETCHES" => Some("7".to_owned()),
            _ => None,
        });
        layers.adapt();
        let settings = resolve(&layers).unwrap();
        assert_eq!(settings.profile, Some(Profile::Server));
        assert_eq!((settings.packets_per_second, settings.bytes_per_second), (10_000, 4_000_000));
        assert_eq!((settings.endpoints_per_minute, settings.fetches), (200_000, 7));
        assert_eq!((settings.backlog_max, settings.contacts_max), (10_000_000, 4_000_000));
        let rows = layers.rows(&settings);
        let origin = |name: &str| rows.iter().find(|row| row.0 == name).unwrap().2.to_string();
        assert_eq!(origin("bytes-per-second"), "profile server");
        assert_eq!(origin("fetches"), "environment variable INDEXER_FETCHES");
    }

    #[test]
    fn every_value_of_every_profile_is_one_that_could_be_set_and_the_help_names_it() {
        for profile in Profile::ALL {
            let mut layers = Layers::defaults();
            flag(&mut layers, "profile", &[profile.as_str()]);
            layers.adapt();
            assert_eq!(resolve(&layers).unwrap().profile, Some(profile));
            for (name, value) in profile.settings() {
                let definition = SETTINGS.iter().find(|definition| definition.name == *name).unwrap();
                assert!(definition.help.contains(value), "{name} {value}");
                assert_eq!(layers.origin(name), Origin::Profile(profile));
            }
        }
        let mut layers = Layers::defaults();
        flag(&mut layers, "profile", &["castle"]);
        layers.adapt();
        assert_eq!(
            resolve(&layers).unwrap_err().to_string(),
            "setting profile from the command line: \"castle\" is none of home, vps, server"
        );
    }

    #[test]
    fn more_nodes_than_bep42_has_ids_need_an_explicit_choice() {
        let mut layers = Layers::defaults();
        flag(&mut layers, "nodes-per-port", &["3"]);
        assert!(resolve(&layers).unwrap_err().to_string().contains("--ids spread"));
        flag(&mut layers, "ids", &["spread"]);
        assert_eq!(resolve(&layers).unwrap().nodes_per_port, 3);
    }

    #[test]
    fn nodes_move_once_in_two_hours_at_most_and_not_by_default() {
        let mut layers = Layers::defaults();
        assert_eq!(resolve(&layers).unwrap().move_nodes, None);
        flag(&mut layers, "move-nodes", &["6h"]);
        assert_eq!(resolve(&layers).unwrap().move_nodes, Some(Duration::from_secs(6 * 3600)));
        flag(&mut layers, "move-nodes", &["119m"]);
        assert_eq!(
            resolve(&layers).unwrap_err().to_string(),
            "setting move-nodes from the command line: \"119m\" is outside of 2h..30days"
        );
    }

    #[test]
    fn on_loopback_nobody_becomes_read_only_unasked() {
        let mut layers = Layers::defaults();
        assert_eq!(resolve(&layers).unwrap().read_only, ReadOnly::Auto);
        flag(&mut layers, "bind", &["127.0.0.5"]);
        assert_eq!(resolve(&layers).unwrap().read_only, ReadOnly::Off);
        flag(&mut layers, "read-only", &["on"]);
        assert_eq!(resolve(&layers).unwrap().read_only, ReadOnly::On);
        flag(&mut layers, "read-only", &["perhaps"]);
        assert!(resolve(&layers).unwrap_err().to_string().ends_with("\"perhaps\" is none of auto, on, off"));
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(hide_password("postgres://me:secret@db/x"), "postgres://me:***@db/x");
        assert_eq!(hide_password("postgres://me@db/x"), "postgres://me@db/x");
    }

    #[test]
    fn bootstrap_addresses_may_be_names_or_addresses_of_both_families() {
        assert_eq!(host_port("router.example:6881").unwrap().to_string(), "router.example:6881");
        assert_eq!(host_port("[::1]:7").unwrap().to_string(), "[::1]:7");
        for bad in ["router.example", "x:0", ":1", "a:b:1", "x:99999"] {
            assert!(host_port(bad).is_err(), "{bad}");
        }
    }
}
