//! One bell a shard: whoever puts something into one of its lanes rings it.

use std::sync::Arc;

use tokio::sync::Notify;

/// Wakes the loop. Ringing twice before it listens wakes it once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bell(Arc<Notify>);

impl Bell {
    pub(crate) fn ring(&self) {
        self.0.notify_one();
    }

    pub(crate) async fn rung(&self) {
        self.0.notified().await;
    }
}
