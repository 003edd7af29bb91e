//! Parameters of a statement whose text depends on the query.

use tokio_postgres::types::{ToSql, Type};

/// Values in their order, each with its type, so that a statement need not be prepared: its text is seldom the same twice, and each
/// prepared one would be kept.
#[derive(Default)]
pub(super) struct Parameters {
    values: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Parameters {
    /// Adds a value and gives its place in the text.
    fn push(&mut self, value: impl ToSql + Sync + Send + 'static, of: Type) -> String {
        self.values.push((Box::new(value), of));
        format!("${}", self.values.len())
    }

    /// A query of lexemes.
    pub(super) fn tsquery(&mut self, text: &str) -> String {
        // The planner folds the cast, and knows how many rows there are.
        format!("{}::tsquery", self.push(text.to_owned(), Type::TEXT))
    }

    pub(super) fn text(&mut self, text: &str) -> String {
        self.push(text.to_owned(), Type::TEXT)
    }

    pub(super) fn number(&mut self, number: i64) -> String {
        self.push(number, Type::INT8)
    }

    pub(super) fn time(&mut self, time: std::time::SystemTime) -> String {
        self.push(time, Type::TIMESTAMPTZ)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> String {
        self.push(bytes.to_vec(), Type::BYTEA)
    }

    /// As the driver takes them.
    pub(super) fn typed(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.values.iter().map(|(value, of)| (&**value as &(dyn ToSql + Sync), of.clone())).collect()
    }
}
