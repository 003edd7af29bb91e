//! Programs made of parts: what Elm calls `Cmd.map` and `Sub.map`.
//!
//! A parent holds its children's models. It runs a child's `update` inside [`Cmd::lift`] and its `subscriptions` inside
//! [`Sub::lift`]; both rename the child's keys and wrap its messages, so that two children never meet.

use std::{any::Any, collections::BTreeMap, sync::Arc};

use crate::{
    Cmd, Db, Fault, Never, Op, Program, StreamTagger, Sub, SubEvent, Task,
    sub::{EventsTagger, Source},
};

/// Wraps what a child produces for its parent: a message constructor, or a closure that captures no more than which
/// child it was.
pub trait Wrap<Child, Parent>: Fn(Child) -> Parent + Copy + Send + Sync + 'static {}

impl<Child, Parent, F: Fn(Child) -> Parent + Copy + Send + Sync + 'static> Wrap<Child, Parent> for F {}

/// How a parent's effect carries the effect of a child.
///
/// A parent whose effect is an enum writes one such implementation a kind of child:
///
/// ```
/// use tea_runtime::{Db, Effect, EffectFrom, Fault, Wrap};
/// # struct Client; enum Msg { Store(ChildMsg) } enum ChildMsg {}
///
/// enum ParentEffect {
///     Database(Db<Msg, Client>),
/// }
///
/// impl EffectFrom<Db<ChildMsg, Client>, ChildMsg, Msg> for ParentEffect {
///     fn lift(child: Db<ChildMsg, Client>, wrap: impl Wrap<ChildMsg, Msg>) -> Self {
///         Self::Database(child.map(wrap))
///     }
/// }
/// ```
pub trait EffectFrom<Child, ChildMsg, Msg> {
    /// The child's effect as the parent's; its answer is the child's message, wrapped.
    fn lift(child: Child, wrap: impl Wrap<ChildMsg, Msg>) -> Self;
}

impl<Parent, ChildMsg, Msg> EffectFrom<Never, ChildMsg, Msg> for Parent {
    fn lift(child: Never, _: impl Wrap<ChildMsg, Msg>) -> Self {
        match child {}
    }
}

impl<ChildMsg, Msg, Client> EffectFrom<Db<ChildMsg, Client>, ChildMsg, Msg> for Db<Msg, Client>
where
    ChildMsg: Send + 'static,
    Msg: Send + 'static,
    Client: Send + 'static,
{
    fn lift(child: Db<ChildMsg, Client>, wrap: impl Wrap<ChildMsg, Msg>) -> Self {
        child.map(wrap)
    }
}

impl<P: Program> Cmd<P> {
    /// Runs a child's `init` or `update` with a buffer of its own and takes over what it asks for, its messages wrapped
    /// and its keys renamed. Its datagrams and stream writes are encoded straight into the parent's buffer.
    ///
    /// Costs an allocation for the child's operations and one for each stream or task it opens: meant for programs made of
    /// parts, not for each packet.
    ///
    /// ```
    /// # use tea_runtime::*;
    /// # struct Child; impl Program for Child { type Flags = (); type Msg = u32; type Key = u8; type Effect = Never;
    /// #   fn init(_: (), _: &Context, _: &mut Cmd<Self>) -> Self { Child }
    /// #   fn update(&mut self, _: u32, _: &Context, _: &mut Cmd<Self>) {}
    /// #   fn subscriptions(&self, _: &mut Sub<Self>) {} }
    /// # struct Parent { children: Vec<Child> }
    /// impl Program for Parent {
    /// #   type Flags = (); type Effect = Never;
    ///     type Msg = (usize, u32);
    ///     type Key = (usize, u8);
    /// #   fn init(_: (), _: &Context, _: &mut Cmd<Self>) -> Self { Parent { children: vec![Child, Child] } }
    ///
    ///     fn update(&mut self, (which, msg): Self::Msg, cx: &Context, cmd: &mut Cmd<Self>) {
    ///         let child = &mut self.children[which];
    ///         cmd.lift(move |msg| (which, msg), move |key| (which, key), |cmd| child.update(msg, cx, cmd));
    ///     }
    /// #   fn subscriptions(&self, _: &mut Sub<Self>) {}
    /// }
    /// ```
    pub fn lift<Child: Program, T>(
        &mut self,
        wrap_msg: impl Wrap<Child::Msg, P::Msg>,
        wrap_key: impl Wrap<Child::Key, P::Key>,
        run: impl FnOnce(&mut Cmd<Child>) -> T,
    ) -> T
    where
        P::Effect: EffectFrom<Child::Effect, Child::Msg, P::Msg>,
    {
        // The child goes on writing where the parent's bytes end, so its ranges stay right.
        let mut child = Cmd { ops: Vec::new(), arena: std::mem::take(&mut self.arena) };
        let result = run(&mut child);
        self.arena = child.arena;
        self.ops.extend(child.ops.into_iter().map(|op| lift_op(op, wrap_msg, wrap_key)));
        result
    }
}

fn lift_op<Child: Program, P: Program>(
    op: Op<Child>,
    wrap_msg: impl Wrap<Child::Msg, P::Msg>,
    wrap_key: impl Wrap<Child::Key, P::Key>,
) -> Op<P>
where
    P::Effect: EffectFrom<Child::Effect, Child::Msg, P::Msg>,
{
    match op {
        Op::Send { port, to, payload } => Op::Send { port: wrap_key(port), to, payload },
        Op::After { key, at, msg } => Op::After { key: wrap_key(key), at, msg: wrap_msg(msg) },
        Op::Cancel { key } => Op::Cancel { key: wrap_key(key) },
        Op::Connect { key, to, limits, tag } => {
            Op::Connect { key: wrap_key(key), to, limits, tag: StreamTagger(tag.0.lift(key, wrap_msg)) }
        }
        Op::Accept { key, incoming, limits, tag } => {
            Op::Accept { key: wrap_key(key), incoming, limits, tag: StreamTagger(tag.0.lift(key, wrap_msg)) }
        }
        Op::Write { key, payload } => Op::Write { key: wrap_key(key), payload },
        Op::Close { key, how } => Op::Close { key: wrap_key(key), how },
        Op::Task(Task { key, label, run, tag }) => Op::Task(Task {
            key: key.map(wrap_key),
            label,
            run,
            tag: Box::new(move |result: Result<Box<dyn Any + Send>, Fault>| wrap_msg(tag(result))),
        }),
        Op::Effect(effect) => Op::Effect(P::Effect::lift(effect, wrap_msg)),
        Op::Shard { to, msg } => Op::Shard { to, msg: wrap_msg(msg) },
        Op::Resubscribe => Op::Resubscribe,
        Op::Quit => Op::Quit,
    }
}

impl<P: Program> Sub<P> {
    /// Adds a child's subscriptions, its messages wrapped and its keys renamed. Of [`SubEvent`]s the child hears those
    /// about its own subscriptions, under its own keys.
    pub fn lift<Child: Program>(
        &mut self,
        wrap_msg: impl Wrap<Child::Msg, P::Msg>,
        wrap_key: impl Wrap<Child::Key, P::Key>,
        subscriptions: impl FnOnce(&mut Sub<Child>),
    ) {
        let mut child = Sub::default();
        subscriptions(&mut child);
        let own: BTreeMap<P::Key, Child::Key> =
            child.wanted.keys().map(|key| (wrap_key(*key), *key)).collect();
        for (key, source) in child.wanted {
            let source = match source {
                Source::Udp { port, tag } => Source::Udp { port, tag: tag.lift(key, wrap_msg) },
                Source::Listen { port, tag } => Source::Listen { port, tag: tag.lift(key, wrap_msg) },
                Source::Every { period, tag } => Source::Every { period, tag: tag.lift(key, wrap_msg) },
                Source::Signal { tag } => Source::Signal { tag: tag.lift(key, wrap_msg) },
                Source::Events { tag } => {
                    let own = own.clone();
                    let lifted = move |event: SubEvent<P::Key>| {
                        let about = *own.get(&event.key())?;
                        tag.call(key, event.renamed(about)).map(wrap_msg)
                    };
                    Source::Events { tag: EventsTagger::Lifted(Arc::new(lifted)) }
                }
            };
            self.put(wrap_key(key), source);
        }
    }
}
