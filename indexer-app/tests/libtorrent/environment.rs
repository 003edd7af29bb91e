//! A Python environment with libtorrent in it, made once below `target/`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The libtorrent that the tests are written for.
const LIBTORRENT: &str = "2.1.1";

/// The Python that can import libtorrent. Makes the environment if it is not there yet, which needs the network once.
///
/// Panics with what is missing: without real clients the tests prove nothing.
pub fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(target).unwrap();
    // Tests of several programs and checkouts of one target directory may get here at the same time.
    let lock = File::create(target.join("libtorrent.lock")).unwrap();
    lock.lock().unwrap();
    let environment = target.join(format!("libtorrent-{LIBTORRENT}"));
    let python = environment.join("bin/python");
    if works(&python) {
        return python;
    }
    // Left behind by a set-up that was interrupted, or made with a Python that is gone.
    let _ = fs::remove_dir_all(&environment);
    run(
        Command::new("python3").args(["-m", "venv"]).arg(&environment),
        "make a virtual environment: Python 3.9 or later with its venv module is needed (Debian: apt install \
         python3-venv)",
    );
    run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"])
            .arg(format!("libtorrent=={LIBTORRENT}")),
        "install libtorrent with pip: the network, or a package index that has a wheel of it for this Python, is needed",
    );
    assert!(
        works(&python),
        "libtorrent {LIBTORRENT} was installed in {} and cannot be imported",
        environment.display()
    );
    python
}

fn works(python: &Path) -> bool {
    let program = format!("import libtorrent; assert libtorrent.version.startswith('{LIBTORRENT}')");
    Command::new(python).args(["-c", &program]).output().is_ok_and(|output| output.status.success())
}

fn run(command: &mut Command, purpose: &str) {
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "the set-up of this test cannot {purpose}.\n{command:?} ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => {
            panic!("the set-up of this test cannot {purpose}.\n{command:?} could not be run: {error}")
        }
    }
}
