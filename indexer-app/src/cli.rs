//! The command line: which command, its own options, and the settings given as flags.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::{
    search::{PAGE_MAX, Sort},
    settings::{Layers, SETTINGS, Scope, parse_duration, parse_size},
};

/// What the user asked for.
#[derive(Debug)]
pub enum Invocation {
    /// Crawl until stopped.
    Run(RunOptions),
    /// Crawl a synthetic swarm on loopback.
    Demo(DemoOptions),
    /// Search the index.
    Search(SearchOptions),
    /// Show one torrent.
    Show {
        /// 40 hex digits (v1, or a truncated v2 hash) or 64 (v2).
        hash: String,
        /// As JSON instead of text.
        json: bool,
    },
    /// Have torrents fetched now, and show them.
    Fetch(FetchOptions),
    /// Have hashes fetched before all others.
    Request {
        /// As in `Show`, in full.
        hashes: Vec<String>,
    },
    /// Delete torrents, for good.
    Delete {
        /// As in `Show`, in full.
        hashes: Vec<String>,
        /// Without being asked.
        yes: bool,
    },
    /// Say what is not to be in the index.
    Ban(BanCommand),
    /// Let hashes in again.
    Unban {
        /// As in `Show`, in full.
        hashes: Vec<String>,
        /// A file with one on each line.
        file: Option<PathBuf>,
    },
    /// Show the numbers.
    Stats {
        /// As JSON instead of text.
        json: bool,
    },
    /// Write torrents as lines of JSON.
    Export(ExportOptions),
    /// Store torrents from elsewhere.
    Import(ImportRequest),
    /// Make words and types of stored torrents again.
    Reindex {
        /// All of them, not only those of older rules.
        every: bool,
    },
    /// Bring the schema up to date.
    Migrate,
    /// Show every setting.
    Config,
}

/// What is to be done about bans.
#[derive(Debug)]
pub enum BanCommand {
    /// Ban hashes, or make a rule.
    Add {
        /// 40 hex digits each, or 64.
        hashes: Vec<String>,
        /// A file with one on each line.
        file: Option<PathBuf>,
        /// Words of names and paths.
        words: Option<String>,
        /// Least bytes in all files.
        size_min: Option<u64>,
        /// Most bytes in all files.
        size_max: Option<u64>,
    },
    /// Show what is banned.
    List {
        /// As JSON instead of text.
        json: bool,
    },
    /// Remove a rule.
    Remove {
        /// Its number.
        rule: i64,
    },
    /// Delete what is banned and stored.
    Apply {
        /// Only say what would go.
        dry_run: bool,
    },
}

/// How long to run.
#[derive(Debug, Default, Clone, Copy)]
pub struct RunOptions {
    /// End after this time.
    pub duration: Option<Duration>,
    /// One sweep over the nodes that can be found, a report, the end.
    pub once: bool,
}

/// The synthetic swarm.
#[derive(Debug, Clone, Copy)]
pub struct DemoOptions {
    /// Its DHT nodes.
    pub nodes: usize,
    /// Its torrents.
    pub torrents: usize,
    /// End after this time.
    pub duration: Option<Duration>,
}

/// Torrents to be waited for.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Info-hashes and magnet links.
    pub torrents: Vec<String>,
    /// How long.
    pub patience: Duration,
    /// As JSON instead of text.
    pub json: bool,
    /// Where to write a `.torrent`.
    pub torrent_file: Option<PathBuf>,
}

/// A search.
#[derive(Debug, Clone)]
pub struct SearchOptions {
    /// The words, as they were given: any bytes. A single `-` stands for standard input.
    pub query: Vec<OsString>,
    /// As JSON lines instead of a table.
    pub json: bool,
    /// With what kinds of torrents there are.
    pub facets: bool,
    /// How long it may take; `None`: as long as is usual.
    pub timeout: Option<Duration>,
    /// Most results.
    pub limit: u32,
    /// Order.
    pub sort: String,
    /// Where the previous page ended.
    pub after: Option<String>,
}

/// What to export, and where to.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// Where to; `None`: standard output.
    pub output: Option<PathBuf>,
    /// Compressed, whatever the file is called.
    pub zstd: bool,
    /// Continue an export that was interrupted.
    pub resume: bool,
    /// Only what is new since this cursor.
    pub since: Option<String>,
    /// Where the cursor is kept from export to export.
    pub cursor_file: Option<PathBuf>,
}

/// What to import.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// What kind of database it is.
    pub from: ImportFrom,
    /// Files, `-` for standard input; or URLs of databases.
    pub sources: Vec<String>,
    /// End at the first thing that is refused.
    pub strict: bool,
}

/// Whose database is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportFrom {
    /// An export of ours.
    Ndjson,
    /// magnetico's SQLite file.
    Magnetico,
    /// bitmagnet's PostgreSQL.
    Bitmagnet,
}

impl ImportFrom {
    /// All of them, with their words.
    const WORDS: [(&str, Self); 3] =
        [("ndjson", Self::Ndjson), ("magnetico", Self::Magnetico), ("bitmagnet", Self::Bitmagnet)];
}

/// The command line as clap sees it.
pub fn command() -> Command {
    Command::new("indexer")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Indexes the BitTorrent DHT: finds info-hashes, fetches and verifies their metadata, makes them searchable")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .global(true)
                .value_parser(value_parser!(PathBuf))
                .help("Settings file (TOML); default: /etc/indexer.toml for root, indexer.toml in the XDG configuration directory otherwise"),
        )
        .arg(
            Arg::new("log")
                .long("log")
                .value_name("FILTER")
                .global(true)
                .help("What is logged: error, warn, info, debug, trace, or a filter such as mainline=debug; environment INDEXER_LOG"),
        )
        .subcommand(
            with_settings(Command::new("run"), true)
                .about("Take part in the DHT and index what is found, until Ctrl-C")
                .arg(for_option())
                .arg(
                    Arg::new("once")
                        .long("once")
                        .action(ArgAction::SetTrue)
                        .help("One sweep over all nodes that can be found, a report, then end"),
                ),
        )
        .subcommand(
            with_settings(Command::new("demo"), false)
                .about("Start a synthetic swarm on loopback, index it, and stay for searching until Ctrl-C; nothing leaves the machine")
                .arg(count("nodes", "2000", "DHT nodes in the swarm, 8..100000"))
                .arg(count("torrents", "5000", "Torrents in the swarm, 1..1000000"))
                .arg(for_option()),
        )
        .subcommand(
            with_settings(Command::new("search"), false)
                .about("Search the names and file paths of what is indexed")
                .arg(
                    Arg::new("query")
                        .value_name("QUERY")
                        .required(true)
                        .num_args(1..)
                        .value_parser(value_parser!(OsString))
                        .help("Words that must all occur; \"a phrase\", prefix*, -not, OR, ( ); an info-hash; - for standard input. Conditions: file: type: ext: size: files: added: seen: seeders: leechers: year: season: episode: res: codec: source: group: lang: hash:, as in size:1gb..4gb type:video|audio added:<7d"),
                )
                .arg(json("One JSON object a line; the last one tells of the page"))
                .arg(
                    Arg::new("facets")
                        .long("facets")
                        .action(ArgAction::SetTrue)
                        .help("Also tell how many there are by type, extension, size and year; estimates when they are many"),
                )
                .arg(
                    Arg::new("timeout")
                        .long("timeout")
                        .value_name("DURATION")
                        .value_parser(|text: &str| parse_duration(text))
                        .help("How long the search may take [default: 2s]"),
                )
                .arg(
                    Arg::new("limit")
                        .long("limit")
                        .value_name("N")
                        .default_value("20")
                        .value_parser(value_parser!(u32).range(1..=i64::from(PAGE_MAX)))
                        .help("Most results, 1..500"),
                )
                .arg(
                    Arg::new("sort")
                        .long("sort")
                        .value_name("ORDER")
                        .default_value("relevance")
                        .value_parser(Sort::ALL.map(Sort::as_str))
                        .help("Order of the results"),
                )
                .arg(Arg::new("after").long("after").value_name("CURSOR").help("Continue where the page that gave this cursor ended")),
        )
        .subcommand(
            with_settings(Command::new("show"), false)
                .about("Show one torrent with its files")
                .arg(Arg::new("hash").value_name("HASH").required(true).help("Info-hash: 40 hex digits, or the 64 of a v2 torrent"))
                .arg(json("As JSON")),
        )
        .subcommand(
            with_settings(Command::new("fetch"), true)
                .about("Fetch torrents now, wait for them and show them; asks the indexer that runs, or takes part itself meanwhile")
                .arg(
                    Arg::new("torrents")
                        .value_name("HASH|MAGNET")
                        .required(true)
                        .num_args(1..=1000)
                        .help("Info-hash: 40 hex digits, or the 64 of a v2 torrent; or a magnet link"),
                )
                .arg(
                    for_option()
                        .default_value("2m")
                        .help("How long to wait, such as 90s or 1h; what is not there by then stays requested"),
                )
                .arg(json("As JSON, one object a line"))
                .arg(
                    Arg::new("torrent")
                        .long("torrent")
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .help("Write a .torrent too; for one torrent, whose info dict has to be kept"),
                ),
        )
        .subcommand(
            with_settings(Command::new("request"), false)
                .about("Have info-hashes fetched before all others by the indexer that runs, or at its next start")
                .arg(
                    Arg::new("hashes")
                        .value_name("HASH")
                        .required(true)
                        .num_args(1..=1000)
                        .help("Info-hash: 40 hex digits, or the 64 of a v2 torrent"),
                ),
        )
        .subcommand(
            with_settings(Command::new("delete"), false)
                .about("Delete torrents with their files and numbers; they are never fetched again, unless `indexer unban` says so")
                .arg(hashes().required(true).num_args(1..=1000))
                .arg(Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("Do not ask first")),
        )
        .subcommand(ban())
        .subcommand(
            with_settings(Command::new("unban"), false)
                .about("Let deleted or banned info-hashes in again")
                .arg(hashes().num_args(1..=1000).required_unless_present("file"))
                .arg(hash_file()),
        )
        .subcommand(
            with_settings(Command::new("stats"), false)
                .about("Show nodes by family and client, runs, torrents and the backlog")
                .arg(json("As JSON")),
        )
        .subcommand(
            with_settings(Command::new("export"), false)
                .about("Write every torrent with its files as one JSON object a line")
                .arg(
                    Arg::new("output")
                        .long("output")
                        .short('o')
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .help("File to create instead of standard output; compressed with zstd if it ends in .zst"),
                )
                .arg(flag("zstd", "Compress with zstd, in frames that can be read one by one"))
                .arg(flag("resume", "Continue an export into FILE that was interrupted").requires("output"))
                .arg(
                    Arg::new("since")
                        .long("since")
                        .value_name("CURSOR")
                        .help("Only what was stored since the export that ended with this cursor"),
                )
                .arg(
                    Arg::new("cursor-file")
                        .long("cursor-file")
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .conflicts_with("since")
                        .help("As --since with the cursor in FILE, everything if there is no FILE yet; keeps the new cursor there"),
                ),
        )
        .subcommand(
            with_settings(Command::new("import"), false)
                .about("Store torrents from exports, or from the databases of other indexers")
                .arg(
                    Arg::new("sources")
                        .value_name("FILE")
                        .required(true)
                        .num_args(1..)
                        .help("Exports, plain or compressed with zstd, - is standard input; SQLite files of magnetico; a postgres:// URL of bitmagnet"),
                )
                .arg(
                    Arg::new("from")
                        .long("from")
                        .value_name("KIND")
                        .default_value("ndjson")
                        .value_parser(ImportFrom::WORDS.map(|(word, _)| word))
                        .help("Whose database it is"),
                )
                .arg(flag("strict", "End at the first line that cannot be stored or contradicts what is stored, instead of counting it")),
        )
        .subcommand(
            with_settings(Command::new("reindex"), false)
                .about("Make words and types of stored torrents again by the rules of this version, at full speed; `run` does it in the background")
                .arg(
                    Arg::new("all")
                        .long("all")
                        .action(ArgAction::SetTrue)
                        .help("Every torrent, not only those that older rules have made"),
                ),
        )
        .subcommand(with_settings(Command::new("migrate"), false).about("Bring the database's schema up to date, and say what was done"))
        .subcommand(
            with_settings(Command::new("config"), true).about("Show every setting, its value and where it came from"),
        )
}

/// The arguments as clap is to see them: in a search what begins with one hyphen is a word that is excluded and no flag, but for `-h`. A space before it
/// says so, and means nothing to the query.
pub fn arguments(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut searching = false;
    let mut arguments: Vec<OsString> = Vec::new();
    for argument in given {
        let bytes = argument.as_encoded_bytes();
        if searching && bytes.starts_with(b"-") && bytes.len() > 1 && bytes[1] != b'-' && bytes != b"-h" {
            let mut word = OsString::from(" ");
            word.push(argument);
            arguments.push(word);
            continue;
        }
        // The value of a flag is none: `--config search`.
        let after_flag = arguments
            .last()
            .is_some_and(|last| [OsStr::new("--config"), OsStr::new("--log")].contains(&last.as_os_str()));
        searching |= bytes == b"search" && !arguments.is_empty() && !after_flag;
        arguments.push(argument);
    }
    arguments
}

/// What the parsed command line asks for, and its flags laid over `layers`.
///
/// # Errors
/// A clap error (usage) for values that only this layer checks.
pub fn invocation(matches: &ArgMatches, layers: &mut Layers) -> Result<Invocation, clap::Error> {
    let Some((name, given)) = matches.subcommand() else {
        return Err(usage("a command is needed"));
    };
    // Those of a command of two words stand behind the second.
    let settings = given.subcommand().map_or(given, |(_, given)| given);
    for definition in SETTINGS {
        if let Ok(Some(values)) = settings.try_get_many::<String>(definition.name) {
            layers.add_flag(definition, &values.cloned().collect::<Vec<_>>());
        }
    }
    let flag = |name: &str| given.get_flag(name);
    let text = |name: &str| given.get_one::<String>(name).cloned();
    let duration = || given.get_one::<Duration>("for").copied();
    Ok(match name {
        "run" => Invocation::Run(RunOptions { duration: duration(), once: flag("once") }),
        "demo" => {
            let number = |name: &str| given.get_one::<u64>(name).map_or(0, |number| *number as usize);
            let (nodes, torrents) = (number("nodes"), number("torrents"));
            if !(8..=100_000).contains(&nodes) || !(1..=1_000_000).contains(&torrents) {
                return Err(usage("the swarm has 8..100000 --nodes and 1..1000000 --torrents"));
            }
            Invocation::Demo(DemoOptions { nodes, torrents, duration: duration() })
        }
        "search" => Invocation::Search(SearchOptions {
            query: given
                .get_many::<OsString>("query")
                .map_or_else(Vec::new, |words| words.cloned().collect()),
            json: flag("json"),
            facets: flag("facets"),
            timeout: given.get_one::<Duration>("timeout").copied(),
            limit: given.get_one::<u32>("limit").copied().unwrap_or(20),
            sort: text("sort").unwrap_or_default(),
            after: text("after"),
        }),
        "show" => Invocation::Show { hash: text("hash").unwrap_or_default(), json: flag("json") },
        "fetch" => Invocation::Fetch(FetchOptions {
            torrents: given
                .get_many::<String>("torrents")
                .map_or_else(Vec::new, |torrents| torrents.cloned().collect()),
            patience: duration().unwrap_or(Duration::from_secs(120)),
            json: flag("json"),
            torrent_file: given.get_one::<PathBuf>("torrent").cloned(),
        }),
        "request" => Invocation::Request {
            hashes: given
                .get_many::<String>("hashes")
                .map_or_else(Vec::new, |hashes| hashes.cloned().collect()),
        },
        "delete" => Invocation::Delete { hashes: many(given, "hashes"), yes: flag("yes") },
        "ban" => ban_of(given)?,
        "unban" => Invocation::Unban {
            hashes: many(given, "hashes"),
            file: given.get_one::<PathBuf>("file").cloned(),
        },
        "stats" => Invocation::Stats { json: flag("json") },
        "export" => Invocation::Export(ExportOptions {
            output: given.get_one::<PathBuf>("output").cloned(),
            zstd: flag("zstd"),
            resume: flag("resume"),
            since: text("since"),
            cursor_file: given.get_one::<PathBuf>("cursor-file").cloned(),
        }),
        "import" => Invocation::Import(ImportRequest {
            from: text("from")
                .and_then(|from| ImportFrom::WORDS.iter().find(|(word, _)| *word == from))
                .map_or(ImportFrom::Ndjson, |(_, from)| *from),
            sources: given
                .get_many::<String>("sources")
                .map_or_else(Vec::new, |sources| sources.cloned().collect()),
            strict: flag("strict"),
        }),
        "reindex" => Invocation::Reindex { every: flag("all") },
        "migrate" => Invocation::Migrate,
        "config" => Invocation::Config,
        other => return Err(usage(&format!("there is no command {other}"))),
    })
}

fn usage(problem: &str) -> clap::Error {
    command().error(clap::error::ErrorKind::ValueValidation, problem)
}

fn many(given: &ArgMatches, name: &str) -> Vec<String> {
    given.get_many::<String>(name).map_or_else(Vec::new, |texts| texts.cloned().collect())
}

fn hashes() -> Arg {
    Arg::new("hashes").value_name("HASH").help("Info-hash: 40 hex digits, or the 64 of a v2 torrent")
}

fn hash_file() -> Arg {
    Arg::new("file").long("file").value_name("FILE").value_parser(value_parser!(PathBuf)).help(
        "File with an info-hash at the beginning of each line; empty lines and those with # are passed over",
    )
}

fn ban() -> Command {
    let size = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("SIZE").value_parser(|text: &str| parse_size(text)).help(help)
    };
    let part =
        |name: &'static str, about: &'static str| with_settings(Command::new(name), false).about(about);
    Command::new("ban")
        .about("Say what is not to be in the index: by info-hash, by words, by size")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            part("add", "Ban info-hashes, or make a rule: what is banned is not fetched or stored; what is stored goes with `ban apply`")
                .arg(hashes().num_args(1..))
                .arg(hash_file())
                .arg(Arg::new("words").long("words").value_name("WORDS").help("Torrents with all of these words in name and paths"))
                .arg(size("size-min", "Torrents of at least so many bytes, such as 700mib or 2gb"))
                .arg(size("size-max", "Torrents of at most so many bytes; with --words or --size-min all must hold")),
        )
        .subcommand(part("list", "Show the rules, and how many hashes are banned and why").arg(json("As JSON")))
        .subcommand(
            part("remove", "Remove a rule; what it has banned stays so until `indexer unban`").arg(
                Arg::new("rule")
                    .value_name("RULE")
                    .required(true)
                    .value_parser(value_parser!(i64).range(1..))
                    .help("Its number, as `ban list` shows it"),
            ),
        )
        .subcommand(
            part("apply", "Delete what is banned and stored, in batches; Ctrl-C ends it, and the next one goes on").arg(
                Arg::new("dry-run").long("dry-run").action(ArgAction::SetTrue).help("Only say how many and which would go"),
            ),
        )
}

fn ban_of(given: &ArgMatches) -> Result<Invocation, clap::Error> {
    let Some((name, given)) = given.subcommand() else { return Err(usage("a command is needed")) };
    Ok(Invocation::Ban(match name {
        "add" => BanCommand::Add {
            hashes: many(given, "hashes"),
            file: given.get_one::<PathBuf>("file").cloned(),
            words: given.get_one::<String>("words").cloned(),
            size_min: given.get_one::<u64>("size-min").copied(),
            size_max: given.get_one::<u64>("size-max").copied(),
        },
        "list" => BanCommand::List { json: given.get_flag("json") },
        "remove" => BanCommand::Remove { rule: given.get_one::<i64>("rule").copied().unwrap_or_default() },
        "apply" => BanCommand::Apply { dry_run: given.get_flag("dry-run") },
        other => return Err(usage(&format!("there is no command ban {other}"))),
    }))
}

fn with_settings(mut command: Command, crawl: bool) -> Command {
    for definition in SETTINGS {
        if definition.scope == Scope::Data || crawl {
            let mut arg = Arg::new(definition.name)
                .long(definition.name)
                .value_name(definition.value)
                // So that what is wrong with one is said by the setting, not by a look at its hyphen.
                .allow_negative_numbers(true)
                .help_heading("Settings")
                .help(match definition.default {
                    Some(default) => format!("{} [default: {default}]", definition.help),
                    None => definition.help.to_owned(),
                });
            arg = if definition.list { arg.action(ArgAction::Append) } else { arg.action(ArgAction::Set) };
            command = command.arg(arg);
        }
    }
    command
}

fn for_option() -> Arg {
    Arg::new("for")
        .long("for")
        .value_name("DURATION")
        .value_parser(|text: &str| parse_duration(text))
        .help("End after this time, such as 90s or 2h")
}

fn count(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("N")
        .default_value(default)
        .value_parser(value_parser!(u64))
        .help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn json(help: &'static str) -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn flags_of_run_reach_the_settings() {
        let matches = command()
            .try_get_matches_from([
                "indexer",
                "run",
                "--bind",
                "127.0.0.2",
                "--bind",
                "127.0.0.3",
                "--port",
                "7000",
                "--for",
                "5s",
                "--once",
            ])
            .unwrap();
        let mut layers = Layers::defaults();
        let Invocation::Run(options) = invocation(&matches, &mut layers).unwrap() else {
            panic!("run expected")
        };
        assert_eq!(options.duration, Some(Duration::from_secs(5)));
        assert!(options.once);
        let settings = crate::settings::Settings::resolve(&layers, std::path::Path::new("/nowhere")).unwrap();
        assert_eq!(settings.bind.len(), 2);
        assert_eq!(settings.port, 7000);
    }

    #[test]
    fn a_word_with_a_hyphen_is_excluded_wherever_it_stands() {
        let given =
            ["indexer", "--log", "warn", "search", "ubuntu", "-server", "--limit", "3", "-\"old one\"", "-h"];
        let seen = arguments(given.map(OsString::from));
        assert_eq!(seen[5..], [" -server", "--limit", "3", " -\"old one\"", "-h"].map(OsString::from));
        let matches = command().try_get_matches_from(&seen[..9]).unwrap();
        let Invocation::Search(options) = invocation(&matches, &mut Layers::defaults()).unwrap() else {
            panic!("search expected")
        };
        assert_eq!(options.query, ["ubuntu", " -server", " -\"old one\""]);
        assert_eq!(options.limit, 3);
        let other = ["indexer", "--config", "search", "run", "-x"].map(OsString::from);
        assert_eq!(arguments(other.clone()), other);
    }

    #[test]
    fn a_query_of_several_words_needs_no_quotes() {
        let matches =
            command().try_get_matches_from(["indexer", "search", "two", "words", "--json"]).unwrap();
        let Invocation::Search(options) = invocation(&matches, &mut Layers::defaults()).unwrap() else {
            panic!("search expected")
        };
        assert_eq!(options.query, ["two", "words"]);
        assert!(options.json);
    }
}
