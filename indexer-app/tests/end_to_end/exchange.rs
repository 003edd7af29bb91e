//! `export` and `import` as their users run them: files, cursors, interruptions, and input that is none.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use nix::sys::signal::Signal;

use crate::{
    indexer::{Indexer, ask, program, refusal},
    private_cluster::TempDir,
};

/// What a command says on standard error, and whether it succeeded.
fn said(command: &mut Command) -> (bool, String) {
    let Output { status, stderr, .. } = command.stdin(Stdio::null()).output().unwrap();
    (status.success(), String::from_utf8(stderr).unwrap())
}

fn line(number: u32) -> String {
    let name = format!("Some.Name.{number}");
    format!(
        "{{\"v1\":\"{number:040x}\",\"name\":\"{name}\",\"files\":[{{\"path\":[\"{name}\"],\"length\":{number}}}]}}\n"
    )
}

fn import(folder: &Path, lines: &str) -> String {
    fs::write(folder.join("some.ndjson"), lines).unwrap();
    let (success, text) = said(program(folder, "import").arg(folder.join("some.ndjson")));
    assert!(success, "{text}");
    text.lines().last().unwrap().to_owned()
}

fn torrents(export: &[u8]) -> usize {
    String::from_utf8(export.to_vec()).unwrap().lines().count()
}

#[test]
fn an_import_makes_the_database_and_exports_since_a_cursor_have_what_is_new() {
    let folder = TempDir::new();
    let lines: String = (1..=2_500).map(line).collect();
    assert_eq!(import(&folder.0, &lines), "2500 torrents read: 2500 new, 0 known");
    assert_eq!(import(&folder.0, &lines), "2500 torrents read: 0 new, 2500 known");

    let (file, cursor) = (folder.join("all.ndjson.zst"), folder.join("cursor"));
    let mut export = program(&folder.0, "export");
    let (success, text) = said(export.arg("-o").arg(&file).arg("--cursor-file").arg(&cursor));
    assert!(success, "{text}");
    assert!(text.starts_with("2500 torrents exported to ") && text.contains("--since "), "{text}");
    let unpacked = zstd::stream::decode_all(fs::read(&file).unwrap().as_slice()).unwrap();
    assert!(unpacked == ask(&folder.0, &["export"]).unwrap());
    let left: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains(".part")), "{left:?}");

    let since = fs::read_to_string(&cursor).unwrap();
    assert_eq!(torrents(&ask(&folder.0, &["export", "--since", since.trim()]).unwrap()), 0);
    import(&folder.0, &(2_400..=2_600).map(line).collect::<String>());
    let new = ask(&folder.0, &["export", "--cursor-file", cursor.to_str().unwrap()]).unwrap();
    assert_eq!(torrents(&new), 100);
    assert_ne!(fs::read_to_string(&cursor).unwrap(), since);
    assert_eq!(torrents(&ask(&folder.0, &["export", "--cursor-file", cursor.to_str().unwrap()]).unwrap()), 0);
    assert_eq!(torrents(&ask(&folder.0, &["export", "--since", since.trim()]).unwrap()), 100);

    let other = refusal(program(&folder.0, "export").args(["--since", "1-1"]));
    assert!(other.starts_with("the cursor is of another database"), "{other}");
    let none = refusal(program(&folder.0, "export").args(["--since", "yesterday"]));
    assert_eq!(none, "\"yesterday\" is no cursor: it is what an export says at its end");
}

#[test]
fn an_export_that_was_interrupted_is_continued_to_the_same_file() {
    let folder = TempDir::new();
    import(&folder.0, &(1..=9_000).map(line).collect::<String>());
    let whole = folder.join("whole.ndjson.zst");
    assert!(said(program(&folder.0, "export").arg("-o").arg(&whole)).0);
    let whole = fs::read(&whole).unwrap();
    let lines = zstd::stream::decode_all(whole.as_slice()).unwrap();

    // As an export leaves it that was killed while it wrote.
    let file = folder.join("all.ndjson.zst");
    let (partial, note) = (folder.join("all.ndjson.zst.part"), folder.join("all.ndjson.zst.part.cursor"));
    let until = fs::read_to_string(folder.join("cursor")).ok();
    assert_eq!(until, None);
    let cursor = said(program(&folder.0, "export").arg("-o").arg(folder.join("again.ndjson"))).1;
    let cursor = cursor.trim().rsplit(' ').next().unwrap().to_owned();
    fs::write(&partial, &whole[..whole.len() * 2 / 3]).unwrap();
    fs::write(&note, format!("all {cursor}\n")).unwrap();
    let mut export = program(&folder.0, "export");
    let (success, text) = said(export.arg("-o").arg(&file).arg("--resume"));
    assert!(success, "{text}");
    let rest: u32 = text.split(' ').next().unwrap().parse().unwrap();
    assert!((1..9_000).contains(&rest), "{text}");
    assert!(text.contains(&format!("--since {cursor}")), "the cursor is not that of the beginning: {text}");
    assert!(zstd::stream::decode_all(fs::read(&file).unwrap().as_slice()).unwrap() == lines);
    assert!(!partial.exists() && !note.exists());

    // Nothing to continue: begun anew.
    let (success, text) = said(program(&folder.0, "export").arg("-o").arg(&file).arg("--resume"));
    assert!(success && text.contains("beginning anew"), "{text}");

    // What is something else is left alone.
    fs::write(&partial, "something else").unwrap();
    fs::write(&note, format!("all {cursor}\n")).unwrap();
    let sentence = refusal(program(&folder.0, "export").arg("-o").arg(&file).arg("--resume"));
    assert!(sentence.contains("cannot be continued") && sentence.contains("zstd frames"), "{sentence}");
    assert_eq!(fs::read(&partial).unwrap(), b"something else");
    fs::write(&note, "all 1-1\n").unwrap();
    let sentence = refusal(program(&folder.0, "export").arg("-o").arg(&file).arg("--resume"));
    assert!(sentence.contains("it is of another database"), "{sentence}");
}

#[test]
fn input_that_is_no_export_is_refused_in_one_sentence_and_nothing_stored() {
    let folder = TempDir::new();
    import(&folder.0, &line(1));
    let before = ask(&folder.0, &["export"]).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.join(name), bytes).unwrap();
        folder.join(name)
    };
    let zstd = zstd::encode_all(line(2).repeat(2_000).as_bytes(), 3).unwrap();
    for (file, what) in [
        (folder.join("nowhere"), "cannot be read"),
        (write("a.db", b"SQLite format 3\0"), "--from magnetico"),
        (write("text", b"hello\nworld\n"), "nothing of it could be imported"),
        (write("cut.zst", &zstd[..9]), "is cut off"),
        (write("odd.zst", &[&zstd[..4], b"zzzzzzzzzzzzzzzzzzzz"].concat()), "cannot be read"),
    ] {
        let sentence = refusal(program(&folder.0, "import").arg(&file));
        assert!(sentence.contains(what), "{sentence}");
    }
    assert!(ask(&folder.0, &["export"]).unwrap() == before);
    // Standard input, with lines that are passed over.
    let mut child = program(&folder.0, "import")
        .args(["-", "--log", "warn"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{}oops\n{}", line(2), line(3)).as_bytes()).unwrap();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert!(status.success());
    let text = String::from_utf8(stderr).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("standard input line 2: not JSON: "), "{text}");
    assert_eq!(lines[1], "3 torrents read: 2 new, 0 known, 1 refused (not JSON 1)");
}

#[test]
fn an_import_that_is_interrupted_says_how_far_it_came_and_is_continued_by_the_same_command() {
    let folder = TempDir::new();
    import(&folder.0, &line(0));
    // More lines than are stored at once, and then none for as long as it takes.
    let pipe = folder.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut command = program(&folder.0, "import");
    command.arg(&pipe);
    let mut indexer = Indexer::start(&folder.0, command);
    let lines: String = (1..=1_500).map(line).collect();
    let mut writer = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    writer.write_all(lines.as_bytes()).unwrap();
    indexer.until("the first batch", |indexer| {
        (torrents(&indexer.ask(&["export"]).ok()?) == 1_001).then_some(())
    });
    indexer.signal(Signal::SIGINT);
    let (status, _) = indexer.wait();
    assert!(!status.success());
    let log = indexer.log();
    assert!(
        log.trim().ends_with(
            "indexer: interrupted after 1000 torrents (1000 new, 0 known); the same command passes over what is stored and goes on"
        ),
        "{log}"
    );
    assert_eq!(import(&folder.0, &lines), "1500 torrents read: 500 new, 1000 known");
}
