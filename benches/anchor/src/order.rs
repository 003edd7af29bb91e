//! Relevance as the program reckons it, with BM25 where it has the cover density of words.

use indexer_app::search::{FRESHNESS_HALF_LIFE, FRESHNESS_WEIGHT, POPULARITY_WEIGHT};
use tantivy::{
    DocId, Score, SegmentReader,
    collector::{SegmentSortKeyComputer, SortKeyComputer, sort_key::NaturalComparator},
    fastfield::Column,
};

use crate::fields::{ADDED_AT, POPULARITY};

/// Text, times popularity, times newness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relevance {
    /// Seconds since 1970.
    pub(crate) as_of: u64,
    /// Whether the text counts: that of paths does not.
    pub(crate) has_text: bool,
}

/// The same in a segment.
pub(crate) struct OfSegment {
    of: Relevance,
    added_at: Column<u64>,
    popularity: Column<u64>,
}

impl SortKeyComputer for Relevance {
    type SortKey = Score;
    type Child = OfSegment;
    type Comparator = NaturalComparator;

    fn requires_scoring(&self) -> bool {
        self.has_text
    }

    fn segment_sort_key_computer(&self, segment: &SegmentReader) -> tantivy::Result<OfSegment> {
        let columns = segment.fast_fields();
        Ok(OfSegment { of: *self, added_at: columns.u64(ADDED_AT)?, popularity: columns.u64(POPULARITY)? })
    }
}

impl SegmentSortKeyComputer for OfSegment {
    type SortKey = Score;
    type SegmentSortKey = Score;
    type SegmentComparator = NaturalComparator;

    fn segment_sort_key(&mut self, torrent: DocId, score: Score) -> Score {
        let text = if self.of.has_text { score } else { 0.0 };
        let popularity = self.popularity.first(torrent).unwrap_or_default() as f32;
        let age = self.of.as_of.saturating_sub(self.added_at.first(torrent).unwrap_or_default()) as f32;
        let newness = (-age / FRESHNESS_HALF_LIFE.as_secs_f32()).exp2();
        (text + 0.001)
            * (1.0 + POPULARITY_WEIGHT as f32 * popularity)
            * (1.0 + FRESHNESS_WEIGHT as f32 * newness)
    }

    fn convert_segment_sort_key(&self, key: Score) -> Score {
        key
    }
}
