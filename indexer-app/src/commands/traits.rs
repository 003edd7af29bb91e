//! What a torrent is, for people and as JSON.

use crate::kinds::Traits;

/// Every trait but the type; what is not known is null.
pub(super) fn as_json(traits: &Traits) -> serde_json::Value {
    serde_json::json!({
        "year": traits.year,
        "season": traits.season,
        "episode": traits.episode,
        "resolution": traits.resolution,
        "codec": traits.codec,
        "source": traits.source,
        "group": traits.group,
        "languages": traits.languages,
    })
}

/// In a few words: what is known, the type first.
pub(super) fn as_text(traits: &Traits) -> String {
    let number = |name: &str, value: Option<u16>| value.map(|value| format!("{name} {value}"));
    let parts = [
        Some(traits.kind.to_string()),
        traits.year.map(|year| year.to_string()),
        number("season", traits.season),
        number("episode", traits.episode),
        traits.resolution.map(str::to_owned),
        traits.codec.map(str::to_owned),
        traits.source.map(str::to_owned),
        (!traits.languages.is_empty()).then(|| traits.languages.join(" ")),
        traits.group.as_ref().map(|group| format!("by {group}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{Kind, classify_name};

    #[test]
    fn what_is_known_is_said_in_a_line_and_what_is_not_is_null() {
        let traits = classify_name("Harbour.Lights.2019.S02E05.FRENCH.1080p.WEB-DL.x265-GRP", Kind::Video);
        assert_eq!(as_text(&traits), "video, 2019, season 2, episode 5, 1080p, x265, web-dl, fr, by GRP");
        let json = as_json(&traits);
        assert_eq!((&json["episode"], &json["languages"]), (&5.into(), &serde_json::json!(["fr"])));
        let bare = classify_name("Lamp", Kind::Other);
        assert_eq!(as_text(&bare), "other");
        assert!(as_json(&bare)["year"].is_null());
    }
}
