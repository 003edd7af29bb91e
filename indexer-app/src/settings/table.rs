//! The table of all settings: names, defaults, and what they mean.

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
        "search-url",
        "URL",
        None,
        Scope::Data,
        "PostgreSQL that search, show, stats and export read from, such as a replica of the database; postgres://user:password@host:port/name",
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
        "io-threads",
        "N",
        Some("0"),
        Scope::Crawl,
        "Threads that receive and send for the UDP ports, 0..64; 0: the program's own thread does, which costs least",
    ),
    one(
        "ids",
        "bep42|spread",
        Some("bep42"),
        Scope::Crawl,
        "Node ids: those that BEP 42 allows for the address (at most 8), or any number spread evenly over the keyspace",
    ),
    one(
        "move-nodes",
        "off|DURATION",
        Some("off"),
        Scope::Crawl,
        "How often one of the virtual nodes moves to another id to see another part of the keyspace, 2h..30d: others take that for a new node, which is work for them",
    ),
    one(
        "read-only",
        "auto|on|off",
        Some("auto"),
        Scope::Crawl,
        "Whether others are told that we cannot be reached from outside, and get no answers (BEP 43); auto: if no query of a stranger comes for 20 minutes. On loopback auto is off",
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
    one(
        "profile",
        "home|vps|server",
        Some("home"),
        Scope::Crawl,
        "What the line and the machine can bear: sets the budgets below that are not set themselves",
    ),
    one(
        "packets-per-second",
        "N",
        None,
        Scope::Crawl,
        "DHT packets sent in all, 1..1000000 a second [of the profile: 150, 1000, 10000]",
    ),
    one(
        "bytes-per-second",
        "N",
        None,
        Scope::Crawl,
        "Bytes of DHT packets sent in all, 2000..100000000 a second [of the profile: 50000, 400000, 4000000]",
    ),
    one(
        "endpoints-per-minute",
        "N",
        None,
        Scope::Crawl,
        "New remote endpoints of the DHT in all, 60..10000000 a minute: home routers die of too many [of the profile: 1200, 20000, 200000]",
    ),
    one(
        "fetches",
        "N",
        None,
        Scope::Crawl,
        "Info-hashes whose metadata is being fetched at a time, 1..20000, up to 4 connections each [of the profile: 100, 400, 2000]",
    ),
    many(
        "transports",
        "TRANSPORT",
        Some("tcp,encrypted-tcp,utp,encrypted-utp"),
        Scope::Crawl,
        "What peers are reached by, of tcp, encrypted-tcp, utp (on the UDP ports) and encrypted-utp; repeatable, or with commas",
    ),
    one(
        "utp-packets-per-second",
        "N",
        None,
        Scope::Crawl,
        "uTP packets sent in all, 10..1000000 a second of up to 1232 bytes, beside those of the DHT [of the profile: 100, 1000, 10000]",
    ),
    one(
        "connects-per-minute",
        "N",
        None,
        Scope::Crawl,
        "Connections to peers that are begun in all, 10..10000000 a minute; what is beyond waits [of the profile: 600, 6000, 60000]",
    ),
    one(
        "fetch-timeout",
        "DURATION",
        Some("60s"),
        Scope::Crawl,
        "For one info-hash from its first peer to its info dict, 5s..10m",
    ),
    one(
        "keep-info-dicts",
        "off|BYTES",
        Some("off"),
        Scope::Crawl,
        "Keep info dicts byte for byte, of up to so many bytes, 1..268435456: for .torrent files, and to give them to peers",
    ),
    one(
        "give-rate",
        "BYTES",
        Some("100000"),
        Scope::Crawl,
        "Bytes of info dicts given to peers that ask for them, 0..100000000 a second in all; 0 gives none",
    ),
    one(
        "accept-port",
        "PORT|off",
        Some("off"),
        Scope::Crawl,
        "TCP port at which peers may ask for info dicts, 1..65535, 0 lets the system choose; by uTP they then may at the UDP ports too",
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
        None,
        Scope::Crawl,
        "Info-hashes that wait in the database to be fetched, 1000..100000000 [of the profile: 1000000, 3000000, 10000000]",
    ),
    one(
        "torrents-max",
        "off|N",
        Some("off"),
        Scope::Crawl,
        "Torrents kept, 1000..10000000000: beyond it the least popular go, those first that were unseen longest",
    ),
    one(
        "storage-max",
        "off|SIZE",
        Some("off"),
        Scope::Crawl,
        "Size of the database, 64mib..1pib such as 50gib: beyond it torrents go in the same order. PostgreSQL uses the space of what is gone again and gives none back: a larger database stays as it is and grows no more",
    ),
    one(
        "expire-unseen",
        "off|DURATION",
        Some("off"),
        Scope::Crawl,
        "Torrents that nobody announced, asked for or gave out for so long are removed, 1day..10years; they come back when they are seen again",
    ),
    one(
        "disk-free-min",
        "SIZE",
        Some("1gib"),
        Scope::Crawl,
        "Bytes that stay free where the private database is: with fewer nothing new is fetched until a quarter more is free; 0 for none",
    ),
    one(
        "contacts-max",
        "N",
        None,
        Scope::Crawl,
        "DHT nodes that are remembered in memory, of some 200 bytes, 1000..20000000 [of the profile: 400000, 1000000, 4000000]",
    ),
];
