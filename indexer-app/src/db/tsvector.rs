//! A tsvector in PostgreSQL's binary format.
//!
//! `int32` number of lexemes; for each its text, NUL, `int16` number of positions and the positions as
//! `int16` (`tsvectorrecv` in the server's sources). Lexemes are sorted by bytes and differ; positions ascend.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::tokeniser::Lexemes;

/// Lexemes with or without positions, as a parameter of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TsVector(pub Lexemes);

impl ToSql for TsVector {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&i32::try_from(self.0.len())?.to_be_bytes());
        for (lexeme, positions) in self.0.iter() {
            out.extend_from_slice(lexeme.as_bytes());
            out.extend_from_slice(&[0]);
            out.extend_from_slice(&u16::try_from(positions.len())?.to_be_bytes());
            for position in positions {
                out.extend_from_slice(&position.to_be_bytes());
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TS_VECTOR
    }

    to_sql_checked!();
}
