//! The program's search, and what somebody would write who simply asks PostgreSQL.

use std::time::Instant;

use deadpool_postgres::Client;
use indexer_app::{
    db::Search,
    search::{Request, Sort},
};
use tea_runtime::Session as _;

use crate::{
    classes::all_of,
    latency::Took,
    orders,
    torrent_database::server::{Backend, said},
};

/// Torrents on a page.
const PAGE: u32 = 20;

/// How torrents are searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// As the program does: names, then paths; two pages.
    Search,
    /// All names that match, sorted by `ts_rank`: one page, no paths, no count.
    Rank,
    /// Names that match, sorted, and the planner chooses how: one page, no paths, no count.
    Planner,
}

impl How {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Search => "the program's search",
            Self::Rank => "naive: order by ts_rank, names only",
            Self::Planner => "the planner's choice, names only",
        }
    }
}

/// One of them on its connection.
pub(crate) struct Contender {
    pub(crate) how: How,
    pub(crate) backend: Backend,
}

impl Contender {
    /// The orders that it knows.
    pub(crate) fn orders(&self) -> Vec<Sort> {
        match self.how {
            How::Search => orders().collect(),
            How::Rank => vec![Sort::Relevance],
            How::Planner => vec![Sort::Newest, Sort::Size, Sort::Popularity],
        }
    }

    /// What the first page took and, where there is one, the second.
    pub(crate) async fn ask(
        &self,
        client: &mut Client,
        query: &str,
        sort: Sort,
    ) -> Result<Vec<Took>, String> {
        if self.how != How::Search {
            return Ok(vec![self.ask_plainly(client, query, sort).await?]);
        }
        let mut request = Request { sort, limit: PAGE, ..Request::new(query) };
        let mut took = Vec::new();
        for _ in 0..2 {
            let (begun, before) = (Instant::now(), self.backend.cpu());
            let page = Search { request: request.clone() }.run(client).await.map_err(said)?;
            took.push(self.took(begun, before));
            request.cursor = page.next;
            if request.cursor.is_none() {
                break;
            }
        }
        Ok(took)
    }

    async fn ask_plainly(&self, client: &Client, query: &str, sort: Sort) -> Result<Took, String> {
        let order = match (self.how, sort) {
            (How::Rank, _) => "ts_rank(tsv, query) desc",
            (_, Sort::Newest) => "added_at desc, info_hash",
            (_, Sort::Size) => "total_size desc, info_hash",
            (_, _) => "popularity desc, added_at desc, info_hash",
        };
        let sql = format!(
            "select info_hash, name, total_size, file_count, added_at from torrents, cast('{}' as tsquery) query
             where tsv @@ query order by {order} limit {PAGE}",
            all_of(query).replace('\'', "''")
        );
        let (begun, before) = (Instant::now(), self.backend.cpu());
        client.query(&sql, &[]).await.map_err(said)?;
        Ok(self.took(begun, before))
    }

    fn took(&self, begun: Instant, before: f64) -> Took {
        let wall = begun.elapsed().as_secs_f64() * 1e3;
        Took { wall, cpu: (self.backend.cpu() - before) * 1e3 }
    }
}
