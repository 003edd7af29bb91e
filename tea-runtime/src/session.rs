//! Database work as data: a session is a value with a typed result, run on a pooled connection.

use std::{any::Any, fmt, future::Future};

use crate::{Effect, Fault, task_table::catch_panic};

/// One unit of work on a connection. Plain data, so that a test can look at it and a fake can answer it.
pub trait Session: fmt::Debug + Send + 'static {
    /// The connection that it runs on.
    type Client: Send + 'static;
    /// What it returns.
    type Output: Send + 'static;

    /// Runs it.
    fn run(
        self,
        client: &mut Self::Client,
    ) -> impl Future<Output = Result<Self::Output, SessionError>> + Send;
}

/// Why a session gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Not started: see the fault.
    #[error("not started: {0}")]
    Refused(Fault),
    /// No connection: the database cannot be reached or has none left. Nothing was done; try again later.
    #[error("no database connection: {0}")]
    Unavailable(String),
    /// The connection broke while it ran; what it wrote may or may not have been committed.
    #[error("the database connection broke: {0}")]
    Broken(String),
    /// The database refused the statement; `code` is its SQLSTATE.
    #[error("the database refused ({code}): {message}")]
    Database {
        /// SQLSTATE, five characters.
        code: String,
        /// The database's own words.
        message: String,
    },
    /// The session itself panicked; its transaction was rolled back.
    #[error("the database session panicked: {0}")]
    Panicked(String),
    /// The answer was not what the program expects.
    #[error("unexpected database answer: {0}")]
    Unexpected(String),
}

impl SessionError {
    /// Whether the same session may succeed later without any change to it.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Unavailable(_) | Self::Broken(_))
    }
}

/// A session joined to its tagger: what a program's `Effect` carries.
pub struct Db<Msg, Client> {
    job: Box<dyn Job<Msg, Client>>,
}

impl<Msg: Send + 'static, Client: Send + 'static> Db<Msg, Client> {
    /// Joins a session to the message that its result becomes.
    pub fn new<S: Session<Client = Client>>(
        session: S,
        tag: impl FnOnce(Result<S::Output, SessionError>) -> Msg + Send + 'static,
    ) -> Self {
        Self { job: Box::new(Joined { session, tag }) }
    }

    /// Runs the session and tags its result.
    pub async fn run(self, client: &mut Client) -> Msg {
        self.job.run(client).await
    }

    /// Tags a failure without running anything.
    pub fn fail(self, error: SessionError) -> Msg {
        self.job.fail(error)
    }

    /// The session, if it is an `S`.
    pub fn session<S: Session>(&self) -> Option<&S> {
        self.job.session().downcast_ref()
    }

    /// Answers in place of the database, if the session is an `S`; else gives itself back. For fakes.
    ///
    /// # Errors
    /// The session is not an `S`.
    pub fn answer<S: Session>(
        self,
        answer: impl FnOnce(&S) -> Result<S::Output, SessionError>,
    ) -> Result<Msg, Self> {
        let Some(session) = self.session::<S>() else { return Err(self) };
        let output = answer(session).map(|output| Box::new(output) as Box<dyn Any + Send>);
        Ok(self.job.answer(output))
    }

    /// The same work with its message wrapped: what [`Cmd::lift`](crate::Cmd::lift) does to a child's effects.
    pub fn map<Outer: Send + 'static>(
        self,
        wrap: impl FnOnce(Msg) -> Outer + Send + 'static,
    ) -> Db<Outer, Client> {
        Db { job: Box::new(Wrapped { inner: self.job, wrap }) }
    }
}

impl<Msg, Client> fmt::Debug for Db<Msg, Client> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.job.describe(f)
    }
}

impl<Msg: Send + 'static, Client: Send + 'static> Effect<Msg> for Db<Msg, Client> {
    fn refused(self, fault: Fault) -> Option<Msg> {
        Some(self.fail(SessionError::Refused(fault)))
    }
}

/// A session whose type is forgotten.
trait Job<Msg, Client>: Send {
    fn run<'c>(self: Box<Self>, client: &'c mut Client) -> BoxFutureOn<'c, Msg>;
    fn fail(self: Box<Self>, error: SessionError) -> Msg;
    fn answer(self: Box<Self>, output: Result<Box<dyn Any + Send>, SessionError>) -> Msg;
    fn session(&self) -> &dyn Any;
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

type BoxFutureOn<'c, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'c>>;

struct Joined<S, Tag> {
    session: S,
    tag: Tag,
}

impl<S, Tag, Msg> Job<Msg, S::Client> for Joined<S, Tag>
where
    S: Session,
    Tag: FnOnce(Result<S::Output, SessionError>) -> Msg + Send + 'static,
    Msg: Send + 'static,
{
    fn run<'c>(self: Box<Self>, client: &'c mut S::Client) -> BoxFutureOn<'c, Msg> {
        Box::pin(async move {
            let Self { session, tag } = *self;
            let result = catch_panic(session.run(client)).await;
            tag(result.unwrap_or_else(|said| Err(SessionError::Panicked(said))))
        })
    }

    fn fail(self: Box<Self>, error: SessionError) -> Msg {
        (self.tag)(Err(error))
    }

    fn answer(self: Box<Self>, output: Result<Box<dyn Any + Send>, SessionError>) -> Msg {
        (self.tag)(output.and_then(|output| match output.downcast::<S::Output>() {
            Ok(output) => Ok(*output),
            Err(_) => Err(SessionError::Unexpected(format!("a foreign type for {:?}", self.session))),
        }))
    }

    fn session(&self) -> &dyn Any {
        &self.session
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.fmt(f)
    }
}

struct Wrapped<Msg, Client, Wrap> {
    inner: Box<dyn Job<Msg, Client>>,
    wrap: Wrap,
}

impl<Msg, Outer, Client, Wrap> Job<Outer, Client> for Wrapped<Msg, Client, Wrap>
where
    Msg: Send + 'static,
    Outer: Send + 'static,
    Client: Send + 'static,
    Wrap: FnOnce(Msg) -> Outer + Send + 'static,
{
    fn run<'c>(self: Box<Self>, client: &'c mut Client) -> BoxFutureOn<'c, Outer> {
        Box::pin(async move {
            let Self { inner, wrap } = *self;
            wrap(inner.run(client).await)
        })
    }

    fn fail(self: Box<Self>, error: SessionError) -> Outer {
        (self.wrap)(self.inner.fail(error))
    }

    fn answer(self: Box<Self>, output: Result<Box<dyn Any + Send>, SessionError>) -> Outer {
        (self.wrap)(self.inner.answer(output))
    }

    fn session(&self) -> &dyn Any {
        self.inner.session()
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.describe(f)
    }
}
