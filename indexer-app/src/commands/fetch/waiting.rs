//! What is shown of fetches while they are waited for.

use std::time::Duration;

use bittorrent::display_safe;
use indicatif::HumanBytes;

use crate::{
    db::{FetchProgress, Requested},
    magnet::TorrentName,
    status::Screen,
};

/// Torrents that have a line of their own.
const LINES_MAX: usize = 10;

/// Between two log lines about one torrent that say the same.
const SAME_AGAIN: Duration = Duration::from_secs(10);

/// Characters of a name in a line.
const NAME_CHARS_MAX: usize = 40;

/// A live block on a terminal, log lines elsewhere.
#[derive(Debug)]
pub(super) struct WaitingBlock {
    screen: Screen,
    /// What was logged last, and for how many looks nothing was since.
    logged: Option<(String, u32)>,
}

impl WaitingBlock {
    /// Nothing is shown yet.
    pub(super) fn new(screen: Screen) -> Self {
        Self { screen, logged: None }
    }

    /// Shows how far each is.
    pub(super) fn show<'a>(&mut self, all: impl Iterator<Item = (&'a TorrentName, Option<&'a Requested>)>) {
        let all: Vec<String> = all.map(|(name, state)| line(name, state)).collect();
        let shown = all.iter().take(LINES_MAX).map(String::as_str);
        let mut text = shown.collect::<Vec<_>>().join("\n");
        if all.len() > LINES_MAX {
            text += &format!("\nand {} more", all.len() - LINES_MAX);
        }
        if text.is_empty() || self.screen.show_text(&text) {
            return;
        }
        let looks = self.logged.as_ref().map_or(u32::MAX, |(_, looks)| *looks);
        let changed = self.logged.as_ref().is_none_or(|(last, _)| *last != text);
        // A change is told once a second at most.
        let due = if changed { Duration::from_secs(1) } else { SAME_AGAIN };
        if super::LOOK_EVERY.saturating_mul(looks) >= due {
            for line in text.lines() {
                tracing::info!("{line}");
            }
            self.logged = Some((text, 0));
        } else if let Some((_, looks)) = &mut self.logged {
            *looks = looks.saturating_add(1);
        }
    }

    /// Takes the block from the terminal, so that results can be written.
    pub(super) fn hide(&mut self) {
        self.screen.hide_text();
    }
}

fn line(name: &TorrentName, state: Option<&Requested>) -> String {
    let title = name.display_name.as_deref().map_or_else(String::new, |title| {
        let title = display_safe(title).to_string();
        format!(" ({})", title.chars().take(NAME_CHARS_MAX).collect::<String>())
    });
    format!("{}{title}  {}", name.key, last_word(state))
}

/// How far a fetch is, in a few words.
pub(super) fn last_word(state: Option<&Requested>) -> String {
    match state {
        None => "asked for".to_owned(),
        Some(Requested::Stored) => "stored".to_owned(),
        Some(Requested::Gone) => "is not to be fetched".to_owned(),
        Some(Requested::Waiting { tries: 0, .. }) => "waits to be taken in hand".to_owned(),
        Some(Requested::Waiting { tries, reason, .. }) => {
            let times = if *tries == 1 { "once".to_owned() } else { format!("{tries} times") };
            format!("tried {times}, {}", reason.as_deref().unwrap_or("in vain"))
        }
        Some(Requested::InHand { progress, .. }) => in_hand(progress),
    }
}

fn in_hand(progress: &FetchProgress) -> String {
    let FetchProgress { peers, connects, transports, bytes, pieces, looking } = progress;
    let looking = if *looking { ", looking for more" } else { "" };
    if *peers == 0 {
        return "looking for peers".to_owned();
    }
    let mut text = format!("{peers} peers found{looking}, {connects} tried");
    if !transports.is_empty() {
        text += &format!(", connected by {}", transports.join(", "));
    }
    if *bytes > 0 {
        text += &format!(", {} received, {pieces} pieces", HumanBytes(*bytes));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_words() {
        let waiting = |tries, reason: Option<&str>| Requested::Waiting {
            tries,
            reason: reason.map(str::to_owned),
            due_in: Duration::ZERO,
        };
        assert_eq!(last_word(Some(&waiting(0, None))), "waits to be taken in hand");
        assert_eq!(last_word(Some(&waiting(1, Some("refused")))), "tried once, refused");
        assert_eq!(last_word(Some(&waiting(3, Some("no peers found")))), "tried 3 times, no peers found");
        let mut progress = FetchProgress { looking: true, ..FetchProgress::default() };
        let word = |progress: &FetchProgress| {
            last_word(Some(&Requested::InHand { since: Duration::ZERO, progress: progress.clone() }))
        };
        assert_eq!(word(&progress), "looking for peers");
        progress.peers = 5;
        progress.connects = 2;
        assert_eq!(word(&progress), "5 peers found, looking for more, 2 tried");
        progress = FetchProgress {
            looking: false,
            bytes: 2048,
            pieces: 1,
            transports: vec!["utp".into()],
            ..progress
        };
        assert_eq!(word(&progress), "5 peers found, 2 tried, connected by utp, 2.00 KiB received, 1 pieces");
    }

    #[test]
    fn a_name_from_a_link_is_made_harmless_and_short() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        let long = format!("magnet:?xt=urn:btih:{hash}&dn=a%1b%5b2J{}", "x".repeat(100));
        let line = line(&TorrentName::parse(&long).unwrap(), None);
        assert!(!line.contains('\u{1b}') && line.chars().count() < 110, "{line}");
    }
}
