//! What is known of a torrent besides its words.

use super::{
    Kind,
    marks::{self, episode_mark, group_mark, kind_mark, season_mark, year_mark},
};

/// What a torrent is. Values that come from a table are as they stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Its type.
    pub kind: Kind,
    /// When the work came out: 1900 to 2099.
    pub year: Option<u16>,
    /// The season of a series, 0 to 99; of several the first.
    pub season: Option<u16>,
    /// The episode, 0 to 9,999; of several the first. `None` beside a season: all of it.
    pub episode: Option<u16>,
    /// `2160p`, `1080p`…
    pub resolution: Option<&'static str>,
    /// Of a video that of its pictures (`x265`), of music that of its sound (`flac`).
    pub codec: Option<&'static str>,
    /// Where it was taken from: `bluray`, `web-dl`…
    pub source: Option<&'static str>,
    /// Who made the release, as written.
    pub group: Option<String>,
    /// ISO 639-1, sorted, each once.
    pub languages: Vec<&'static str>,
}

impl Traits {
    /// A torrent of which nothing but the type is known.
    pub fn of_kind(kind: Kind) -> Self {
        Self {
            kind,
            year: None,
            season: None,
            episode: None,
            resolution: None,
            codec: None,
            source: None,
            group: None,
            languages: Vec::new(),
        }
    }

    /// The marks that stand for it in the index: at most a few dozen, each short.
    pub fn marks(&self) -> Vec<String> {
        let mut all = vec![kind_mark(self.kind)];
        all.extend(self.year.map(year_mark));
        all.extend(self.season.map(season_mark));
        all.extend(self.episode.map(episode_mark));
        all.extend(self.resolution.map(|word| marks::of('r', word)));
        all.extend(self.codec.map(|word| marks::of('c', word)));
        all.extend(self.source.map(|word| marks::of('o', word)));
        all.extend(self.group.as_deref().and_then(group_mark));
        all.extend(self.languages.iter().map(|word| marks::of('l', word)));
        all
    }
}
