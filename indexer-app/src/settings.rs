//! Settings: flags over environment over file over defaults, each value with where it came from.
//!
//! Every setting is one row of [`SETTINGS`]. Its name is the flag (`--min-sample-interval`), the key in the file
//! (`min-sample-interval = "300s"`) and, in capitals behind `INDEXER_`, the environment variable
//! (`INDEXER_MIN_SAMPLE_INTERVAL`). All three are read by the same parser, so they accept and refuse the same text.

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// Which commands take a setting as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them: where the data is.
    Data,
    /// Those that take part in the DHT.
    Crawl,
}

/// One setting: a row of the table that flags, environment, file and documentation come from.
#[derive(Debug)]
pub struct Definition {
    /// Its name everywhere.
    pub name: &'static str,
    /// What its value is called in the help.
    pub value: &'static str,
    /// What it does, its unit and its range, in one sentence.
    pub help: &'static str,
    /// The text that stands for the default, parsed like any other; `None`: unset.
    pub default: Option<&'static str>,
    /// Whether it may be given several times.
    pub list: bool,
    /// Who takes it as a flag.
    pub scope: Scope,
}

const fn one(
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    scope: Scope,
    help: &'static str,
) -> Definition {
    Definition { name, value, help, default, list: false, scope }
}

const fn many(
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    scope: Scope,
    help: &'static str,
) -> Definition {
    Definition { name, value, help, default, list: true, scope }
}

/// Every setting there is.
pub const SETTINGS: &[Definition] = &[
    one(
        "data-dir",
        "DIR",
        None,
        Scope::Data,
        "Where the private database and the node's identity live; default: /var/lib/indexer for root, the XDG data directory otherwise",
    ),
    one(
        "database-url",
        "URL",
        None,
        Scope::Data,
        "A PostgreSQL server to use instead of the private one, as postgres://user:password@host/name",
    ),
    one(
        "postgres-bin",
        "DIR",
        None,
        Scope::Data,
        "Where initdb and postgres are; default: PATH and the usual places",
    ),
    one(
        "shared-buffers",
        "BYTES",
        None,
        Scope::Data,
        "Cache of the private database, 1048576..1099511627776; default: a quarter of the memory, up to 4 GB",
    ),
    many("bind", "IP", Some("0.0.0.0"), Scope::Crawl, "Local address to take part from; repeatable"),
    one("port", "FIRST", Some("6881"), Scope::Crawl, "First UDP port, 1..65535; 0 lets the system choose"),
    one("ports", "N", Some("4"), Scope::Crawl, "UDP ports on each address, 1..1024, from the first one on"),
    one("nodes-per-port", "N", Some("2"), Scope::Crawl, "Virtual DHT nodes on each port, 1..100000"),
    one(
        "ids",
        "bep42|spread",
        Some("bep42"),
        Scope::Crawl,
        "Node ids: those that BEP 42 allows for the address (at most 8), or any number spread evenly over the keyspace",
    ),
    many(
        "bootstrap",
        "HOST:PORT",
        Some(
            "router.bittorrent.com:6881,dht.transmissionbt.com:6881,dht.libtorrent.org:25401,router.utorrent.com:6881",
        ),
        Scope::Crawl,
        "A node to join the DHT through; repeatable; replaces the defaults",
    ),
    one(
        "min-sample-interval",
        "DURATION",
        Some("300s"),
        Scope::Crawl,
        "Floor under the interval that nodes ask for between two samples (BEP 51), 1s..6h",
    ),
    one("packets-per-second", "N", Some("150"), Scope::Crawl, "DHT packets sent in all, 1..1000000 a second"),
    one(
        "endpoints-per-minute",
        "N",
        Some("1200"),
        Scope::Crawl,
        "New remote endpoints in all, 60..10000000 a minute: home routers die of too many",
    ),
    one(
        "fetches",
        "N",
        Some("400"),
        Scope::Crawl,
        "Info-hashes whose metadata is being fetched at a time, 1..20000, up to 4 connections each",
    ),
    one(
        "fetch-timeout",
        "DURATION",
        Some("60s"),
        Scope::Crawl,
        "For one info-hash from its first peer to its info dict, 5s..10m",
    ),
    one(
        "metadata-bytes-max",
        "BYTES",
        Some("16777216"),
        Scope::Crawl,
        "Longest info dict that is fetched, 16384..268435456",
    ),
    one(
        "backlog-max",
        "N",
        Some("1000000"),
        Scope::Crawl,
        "Info-hashes that wait in the database to be fetched, 1000..100000000",
    ),
    one(
        "contacts-max",
        "N",
        Some("400000"),
        Scope::Crawl,
        "DHT nodes that are remembered in memory, of some 200 bytes, 1000..20000000",
    ),
];

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// This environment variable.
    Environment(String),
    /// This file.
    File(PathBuf),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("the command line"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
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
    /// The defaults of the table.
    pub fn defaults() -> Self {
        let mut layers = Self::default();
        for definition in SETTINGS {
            if let Some(text) = definition.default {
                layers.values.insert(definition.name, (split(definition, text), Origin::Default));
            }
        }
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
                value => plain_text(&value).map(|text| vec![text]),
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
    pub fn add_flag(&mut self, definition: &'static Definition, values: Vec<String>) {
        self.values.insert(definition.name, (values, Origin::Flag));
    }

    /// Replaces a default: for commands that start from other defaults than the table's.
    pub fn set_default(&mut self, name: &'static str, value: &str) {
        if self.origin(name) == Origin::Default {
            self.values.insert(name, (vec![value.to_owned()], Origin::Default));
        }
    }

    /// Bound to loopback alone, the budgets that spare a line and its router have nothing to spare: where nobody has
    /// chosen them they are [`LOOPBACK_BUDGETS`].
    pub fn adapt_to_loopback(&mut self) {
        let is_loopback = |text: &String| text.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if self.values.get("bind").is_some_and(|(binds, _)| binds.iter().all(is_loopback)) {
            for (name, value) in LOOPBACK_BUDGETS {
                self.set_default(name, value);
            }
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

/// How node ids are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdScheme {
    /// Ids that BEP 42 allows for the external address: 8 of them.
    Bep42,
    /// As many as asked for, evenly over the keyspace.
    Spread,
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
    /// How ids are chosen.
    pub ids: IdScheme,
    /// Where to join.
    pub bootstrap: Vec<HostPort>,
    /// Floor under advertised BEP 51 intervals.
    pub min_sample_interval: Duration,
    /// Packets sent in all, per second.
    pub packets_per_second: u32,
    /// New endpoints in all, per minute.
    pub endpoints_per_minute: u32,
    /// Fetches at a time.
    pub fetches: usize,
    /// For one hash.
    pub fetch_timeout: Duration,
    /// Longest info dict, bytes.
    pub metadata_bytes_max: usize,
    /// Longest backlog, rows.
    pub backlog_max: u64,
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
        let bootstrap =
            if bind.iter().all(IpAddr::is_loopback) && layers.origin("bootstrap") == Origin::Default {
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
            postgres_bin: layers.single("postgres-bin", path)?,
            shared_buffers: layers.single("shared-buffers", ranged::<u64>(1 << 20, 1 << 40))?,
            bind,
            port: layers.required("port", ranged::<u16>(0, 65535))?,
            ports: layers.required("ports", ranged::<u16>(1, 1024))?,
            nodes_per_port: layers.required("nodes-per-port", ranged::<u32>(1, 100_000))?,
            ids: layers.required("ids", |text| match text {
                "bep42" => Ok(IdScheme::Bep42),
                "spread" => Ok(IdScheme::Spread),
                _ => Err("is neither bep42 nor spread".to_owned()),
            })?,
            bootstrap,
            min_sample_interval: layers.required(
                "min-sample-interval",
                duration(Duration::from_secs(1), Duration::from_secs(21600)),
            )?,
            packets_per_second: layers.required("packets-per-second", ranged::<u32>(1, 1_000_000))?,
            endpoints_per_minute: layers.required("endpoints-per-minute", ranged::<u32>(60, 10_000_000))?,
            fetches: layers.required("fetches", ranged::<usize>(1, 20_000))?,
            fetch_timeout: layers
                .required("fetch-timeout", duration(Duration::from_secs(5), Duration::from_secs(600)))?,
            metadata_bytes_max: layers
                .required("metadata-bytes-max", ranged::<usize>(16_384, 268_435_456))?,
            backlog_max: layers.required("backlog-max", ranged::<u64>(1_000, 100_000_000))?,
            contacts_max: layers.required("contacts-max", ranged::<usize>(1_000, 20_000_000))?,
        };
        settings.check()?;
        Ok(settings)
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

/// Budgets of a program that speaks to its own machine alone. Each remote is still asked once a second at most.
pub const LOOPBACK_BUDGETS: &[(&str, &str)] =
    &[("packets-per-second", "4000"), ("endpoints-per-minute", "1000000")];

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

/// A duration such as `90s`, `5m` or `1h 30m`; a bare number is seconds.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text).map_err(|_| "is not a duration such as 90s, 5m or 1h".to_owned())
}

fn duration(least: Duration, most: Duration) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| {
        let value = parse_duration(text)?;
        if value < least || value > most {
            return Err(format!(
                "is outside of {}..{}",
                humantime::format_duration(least),
                humantime::format_duration(most)
            ));
        }
        Ok(value)
    }
}

fn ranged<T: FromStr + PartialOrd + fmt::Display + Copy>(
    least: T,
    most: T,
) -> impl Fn(&str) -> Result<T, String> {
    move |text| match text.parse::<T>() {
        Ok(value) if value >= least && value <= most => Ok(value),
        _ => Err(format!("is not a number from {least} to {most}")),
    }
}

fn parse_with<T: FromStr>(problem: &'static str) -> impl Fn(&str) -> Result<T, String> {
    move |text| text.parse().map_err(|_| problem.to_owned())
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn database_url(text: &str) -> Result<String, String> {
    text.parse::<tokio_postgres::Config>()
        .map(|_| text.to_owned())
        .map_err(|_| "is not a PostgreSQL URL such as postgres://user:password@host/name".to_owned())
}

fn host_port(text: &str) -> Result<HostPort, String> {
    let problem = || "is not HOST:PORT, as in router.example.org:6881".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(problem)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(problem)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || (host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err()) {
        return Err(problem());
    }
    Ok(HostPort { host: host.to_owned(), port })
}

fn split(definition: &Definition, text: &str) -> Vec<String> {
    if definition.list {
        text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    } else {
        vec![text.to_owned()]
    }
}

fn plain_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

fn one_line(error: &toml::de::Error) -> String {
    let place = error.span().map_or_else(String::new, |span| format!(" at byte {}", span.start));
    format!("{}{place}", error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(layers: &Layers) -> Result<Settings, SettingError> {
        Settings::resolve(layers, Path::new("/nowhere"))
    }

    fn flag(layers: &mut Layers, name: &str, values: &[&str]) {
        let definition = SETTINGS.iter().find(|definition| definition.name == name).unwrap();
        layers.add_flag(definition, values.iter().map(|value| (*value).to_owned()).collect());
    }

    #[test]
    fn the_defaults_are_usable() {
        let settings = resolve(&Layers::defaults()).unwrap();
        assert_eq!(settings.min_sample_interval, Duration::from_secs(300));
        assert_eq!(settings.bind, ["0.0.0.0".parse::<IpAddr>().unwrap()]);
        assert_eq!(settings.port_addresses().len(), 4);
        assert_eq!(settings.bootstrap.len(), 4);
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
        layers.adapt_to_loopback();
        assert_eq!(resolve(&layers).unwrap().packets_per_second, 150);
        flag(&mut layers, "bind", &["127.0.0.5"]);
        flag(&mut layers, "endpoints-per-minute", &["77"]);
        layers.adapt_to_loopback();
        let settings = resolve(&layers).unwrap();
        assert_eq!((settings.packets_per_second, settings.endpoints_per_minute), (4000, 77));
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
