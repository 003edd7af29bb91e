//! Runs database sessions on a pool of PostgreSQL connections.

use std::{error::Error as _, io, time::Duration};

use deadpool_postgres::{Client, Pool, PoolError};
use tokio::{task::JoinSet, time::timeout};

use crate::{BoxFuture, Db, Manager, Program, Reply, SessionError};

/// Performs [`Db`] effects on a deadpool pool, each in a task of its own; the effects lane
/// ([`Config::effects_max`](crate::Config::effects_max)) bounds how many wait for a connection.
///
/// A program whose effect is `Db<Msg, deadpool_postgres::Client>` uses it as its manager. One whose effect is an enum
/// writes a manager of its own around it:
///
/// ```
/// use deadpool_postgres::Client;
/// use tea_runtime::{BoxFuture, Db, Effect, Fault, Manager, PgManager, Program, Reply};
///
/// enum Msg {
///     Stored(u64),
/// }
///
/// enum Ask {
///     Database(Db<Msg, Client>),
///     Beep,
/// }
///
/// impl Effect<Msg> for Ask {
///     fn refused(self, fault: Fault) -> Option<Msg> {
///         match self {
///             Ask::Database(db) => db.refused(fault),
///             Ask::Beep => None,
///         }
///     }
/// }
///
/// struct World {
///     database: PgManager,
/// }
///
/// impl<P: Program<Msg = Msg, Effect = Ask>> Manager<P> for World {
///     fn perform(&mut self, effect: Ask, reply: Reply<Msg>) {
///         match effect {
///             Ask::Database(db) => self.database.run(db, reply),
///             Ask::Beep => eprint!("\x07"),
///         }
///     }
///
///     fn close(&mut self) -> BoxFuture<()> {
///         self.database.close()
///     }
/// }
/// ```
#[derive(Debug)]
pub struct PgManager {
    pool: Pool,
    wait_max: Duration,
    sessions: JoinSet<()>,
}

impl PgManager {
    /// A manager that owns `pool`, and closes it when the program stops. A session that gets no connection within 10 s
    /// fails with [`SessionError::Unavailable`].
    pub fn new(pool: Pool) -> Self {
        Self { pool, wait_max: WAIT_MAX, sessions: JoinSet::new() }
    }

    /// Sets how long a session may wait for a connection.
    #[must_use]
    pub fn wait_max(self, wait_max: Duration) -> Self {
        Self { wait_max, ..self }
    }

    /// Runs a session as soon as there is a connection, and sends its message.
    pub fn run<Msg: Send + 'static>(&mut self, db: Db<Msg, Client>, reply: Reply<Msg>) {
        while self.sessions.try_join_next().is_some() {}
        let (pool, wait_max) = (self.pool.clone(), self.wait_max);
        self.sessions.spawn(async move {
            let msg = match timeout(wait_max, pool.get()).await {
                Ok(Ok(mut client)) => db.run(&mut client).await,
                Ok(Err(error)) => db.fail(unavailable(&error)),
                Err(_) => db.fail(SessionError::Unavailable(format!("none was free within {wait_max:?}"))),
            };
            reply.send(msg);
        });
    }

    /// Lets running sessions finish, then closes the pool.
    pub fn close(&mut self) -> BoxFuture<()> {
        let (pool, mut sessions) = (self.pool.clone(), std::mem::take(&mut self.sessions));
        Box::pin(async move {
            while sessions.join_next().await.is_some() {}
            pool.close();
        })
    }
}

impl<P, Msg> Manager<P> for PgManager
where
    P: Program<Msg = Msg, Effect = Db<Msg, Client>>,
    Msg: Send + 'static,
{
    fn perform(&mut self, effect: Db<Msg, Client>, reply: Reply<Msg>) {
        self.run(effect, reply);
    }

    fn close(&mut self) -> BoxFuture<()> {
        Self::close(self)
    }
}

/// Without a connection nothing was done, whatever the reason.
fn unavailable(error: &PoolError) -> SessionError {
    SessionError::Unavailable(with_causes(error))
}

impl From<tokio_postgres::Error> for SessionError {
    /// An error of the server that is about the statement is [`Database`](Self::Database); one that ended the connection is
    /// [`Broken`](Self::Broken); a value that does not fit its type is [`Unexpected`](Self::Unexpected).
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(refused) = error.as_db_error() {
            let code = refused.code().code();
            // Class 08 and the shutdown codes of class 57: the server is going away (PostgreSQL manual, appendix A).
            if code.starts_with("08") || code.starts_with("57P") {
                return Self::Broken(refused.to_string());
            }
            return Self::Database { code: code.to_owned(), message: refused.message().to_owned() };
        }
        let broken = error.is_closed() || error.source().is_some_and(|cause| cause.is::<io::Error>());
        let text = with_causes(&error);
        if broken { Self::Broken(text) } else { Self::Unexpected(text) }
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// How long a session waits for a connection. 10 s: longer than a restart of the database, shorter than a program should
/// sit on work that it could put off.
const WAIT_MAX: Duration = Duration::from_secs(10);
