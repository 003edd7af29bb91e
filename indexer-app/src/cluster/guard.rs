//! The step between us and a program of PostgreSQL: it becomes another user, asks to die with us, and then becomes
//! the program.
//!
//! A child can only be changed between fork and exec by `unsafe` code, so our own binary is started once more, with
//! [`COMMAND`] as its first argument, and does it there. The order matters: the kernel forgets
//! the death signal when the user changes, and a parent that has died before it was asked for sends none.

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
};

use nix::unistd::{Gid, Pid, Uid, getppid, setgid, setuid};

use super::account::Account;

/// First argument of our binary when it is to be the guard.
pub const COMMAND: &str = "__guard-postgres";

/// Exit code when the program could not be started; PostgreSQL's own are 0 to 3.
const FAILED: u8 = 70;

/// The command that runs `program` behind the guard. To be spawned by a thread that lives as long as the
/// program is to live: the death signal comes when that thread ends.
pub(super) fn command(guard: &Path, account: Option<&Account>, program: &Path) -> Command {
    let mut command = Command::new(guard);
    command.arg(COMMAND).arg(std::process::id().to_string());
    match account {
        Some(account) => command.arg(format!("{}:{}", account.uid, account.gid)),
        None => command.arg("-"),
    };
    command.arg(program);
    // A terminal's Ctrl-C is for us: we end the database when we have stored what we have.
    command.process_group(0);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") || name.to_string_lossy().starts_with("LC_") {
            command.env_remove(name);
        }
    }
    command.env_remove("LANGUAGE").env("LANG", "C").env("LC_ALL", "C").current_dir("/");
    command
}

/// What `main` does when the first argument is [`COMMAND`]; `arguments` are those after it. Returns only when it
/// failed, and has then said why on standard error.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let problem = become_program(arguments).err().unwrap_or_default();
    if !problem.is_empty() {
        // Our parent reads it as the program's last words.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{problem}\n").as_bytes());
    }
    ExitCode::from(FAILED)
}

fn become_program(arguments: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    let mut arguments = arguments.into_iter();
    let mut next = |what: &str| arguments.next().ok_or_else(|| format!("the guard was not told its {what}"));
    let parent = number(&next("parent")?).ok_or("the guard's parent is no process number")?;
    let account = next("account")?;
    let program = next("program")?;
    if account != "-" {
        drop_to(&account)?;
    }
    die_with_parent()?;
    // Whoever adopts orphans is our parent now, and has no reason to end soon.
    if getppid() != Pid::from_raw(parent) {
        return Ok(());
    }
    let error = Command::new(&program).args(arguments).exec();
    Err(format!("{} cannot be run: {error}", Path::new(&program).display()))
}

fn drop_to(account: &OsStr) -> Result<(), String> {
    let text = account.to_str().unwrap_or_default();
    let (uid, gid) = text
        .split_once(':')
        .and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)))
        .ok_or("the guard's account is not two numbers")?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let failed = |error| format!("cannot become user {uid}: {error}");
    #[cfg(not(target_vendor = "apple"))]
    nix::unistd::setgroups(&[gid]).map_err(failed)?;
    setgid(gid).map_err(failed)?;
    setuid(uid).map_err(failed)
}

#[cfg(target_os = "linux")]
fn die_with_parent() -> Result<(), String> {
    // SIGINT is PostgreSQL's fast shutdown: it breaks connections off and leaves nothing to recover.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGINT)
        .map_err(|error| format!("cannot ask to die with the parent: {error}"))
}

/// Elsewhere a server may outlive a killed owner; the next owner ends it.
#[cfg(not(target_os = "linux"))]
fn die_with_parent() -> Result<(), String> {
    Ok(())
}

fn number(text: &OsStr) -> Option<i32> {
    text.to_str()?.parse().ok()
}
