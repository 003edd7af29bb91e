//! The words by which releases are tagged.
//!
//! A word here is one piece of a name in lower case, or two neighbouring ones joined: `webdl` is `WEB-DL`, `web dl` and `WEBDL`.

use std::{collections::HashMap, sync::OnceLock};

use super::Kind;

/// What a word of a name can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Resolution(&'static str),
    /// How pictures are coded.
    Pictures(&'static str),
    /// How sound is coded.
    Sound(&'static str),
    /// Where a video, or music, was taken from.
    Source(Kind, &'static str),
    /// ISO 639-1.
    Language(&'static str),
    /// Likely of this type, with a weight.
    Hint(Kind, u32),
    /// The same, and the name of who made it.
    Maker(Kind, u32),
    /// A tag that says nothing that is kept, but that the title is over.
    Nothing,
}

/// Where a word has to stand to be a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strength {
    /// Only in brackets.
    Bracketed,
    /// Behind the title, or in brackets: titles have such words, too.
    Weak,
    /// Anywhere; the title ends before it.
    Strong,
}

use Strength::{Bracketed, Strong, Weak};
use Tag::{Hint, Language, Maker, Nothing, Pictures, Resolution, Sound, Source};

const V: Kind = Kind::Video;
const A: Kind = Kind::Audio;
const B: Kind = Kind::Book;
const S: Kind = Kind::Software;
const G: Kind = Kind::Game;
const I: Kind = Kind::Image;

/// Words separated by spaces.
const TABLE: &[(Strength, Tag, &str)] = &[
    // How large the picture is.
    (Strong, Resolution("144p"), "144p"),
    (Strong, Resolution("240p"), "240p"),
    (Strong, Resolution("360p"), "360p"),
    (Strong, Resolution("480p"), "480p 480i 480р 720x480 640x480 854x480 848x480"),
    (Strong, Resolution("540p"), "540p 540р 960x540"),
    (Strong, Resolution("576p"), "576p 576i 576р 720x576 1024x576"),
    (Strong, Resolution("720p"), "720p 720i 720р hd720 1280x720 960x720"),
    (
        Strong,
        Resolution("1080p"),
        "1080p 1080i 1080р hd1080 fullhd fhd 1920x1080 1440x1080 1080p60 1080p50 1080p10 1080px",
    ),
    (Strong, Resolution("1440p"), "1440p 2560x1440"),
    (Strong, Resolution("2160p"), "2160p 2160р 3840x2160 4096x2160 2160p60 4kuhd uhd4k"),
    (Weak, Resolution("2160p"), "4k uhd"),
    (Strong, Resolution("4320p"), "4320p 7680x4320"),
    (Weak, Resolution("4320p"), "8k"),
    // How pictures are coded.
    (Strong, Pictures("x264"), "x264 h264 х264 avc x264hi10p h264p"),
    (Strong, Pictures("x265"), "x265 h265 х265 hevc x265hevc hevcx265"),
    (Strong, Pictures("vvc"), "h266 x266 vvc"),
    (Strong, Pictures("av1"), "av1"),
    (Strong, Pictures("vp9"), "vp9"),
    (Strong, Pictures("xvid"), "xvid"),
    (Strong, Pictures("divx"), "divx divx5 divx6"),
    (Strong, Pictures("mpeg2"), "mpeg2 mpeg2video"),
    (Strong, Pictures("mpeg4"), "mpeg4"),
    (Strong, Pictures("vc1"), "vc1"),
    (Strong, Pictures("prores"), "prores"),
    // How sound is coded.
    (Strong, Sound("flac"), "flac flac16 flac24 24bitflac"),
    (Strong, Sound("mp3"), "mp3 mp3320 320kbps 256kbps 192kbps 128kbps kbps"),
    (Weak, Sound("mp3"), "320 v0 vbr cbr"),
    (Strong, Sound("alac"), "alac"),
    (Weak, Sound("ape"), "ape"),
    (Strong, Sound("dsd"), "dsd dsd64 dsd128 dsd256 dsf"),
    (Weak, Sound("ogg"), "ogg vorbis"),
    (Weak, Sound("opus"), "opus"),
    (Weak, Sound("wav"), "wav"),
    (Strong, Sound("aac"), "aac aac2 aac5 heaac m4a"),
    (Strong, Sound("ac3"), "ac3 dd51 dd5 dd2 dd20"),
    (Strong, Sound("eac3"), "eac3 ddp ddp5 ddp2 ddp51 ddpa ddpa5"),
    (Weak, Sound("dts"), "dts"),
    (Strong, Sound("dts"), "dtshd dtsx dtshdma dtses"),
    (Strong, Sound("truehd"), "truehd"),
    // Where a video was taken from.
    (
        Strong,
        Source(V, "bluray"),
        "bluray bdrip brrip bdremux bdmv bd25 bd50 bd66 bd100 uhdrip uhdbd uhdbdrip bluray3d bluryay bdr bdiso",
    ),
    (Weak, Source(V, "bluray"), "bd"),
    (Strong, Source(V, "web-dl"), "webdl amzn dsnp hmax atvp pcok webdlrip"),
    (Weak, Source(V, "web-dl"), "web nf hulu crunchyroll"),
    (Strong, Source(V, "webrip"), "webrip webcap"),
    (
        Strong,
        Source(V, "hdtv"),
        "hdtv hdtvrip pdtv dsr dsrip satrip tvrip dvbrip dtvrip dvbt dvbs dth dthrip tvcap iptvrip ahdtv uhdtv",
    ),
    (Weak, Source(V, "hdtv"), "iptv tv"),
    (Strong, Source(V, "hddvd"), "hddvd hddvdrip"),
    (Strong, Source(V, "dvd"), "dvdrip dvdr dvd5 dvd9 dvdfull fulldvd dvdremux dvdiso"),
    (Weak, Source(V, "dvd"), "dvd"),
    (Strong, Source(V, "screener"), "dvdscr bdscr webscr screener dvdscreener"),
    (Weak, Source(V, "screener"), "scr"),
    (Strong, Source(V, "cam"), "camrip hdcam hqcam hdcamrip"),
    (Weak, Source(V, "cam"), "cam"),
    (Strong, Source(V, "telesync"), "telesync hdts tsrip hdtsrip"),
    (Weak, Source(V, "telesync"), "ts"),
    (Strong, Source(V, "telecine"), "telecine hdtc"),
    (Weak, Source(V, "telecine"), "tc"),
    (Strong, Source(V, "vhs"), "vhsrip"),
    (Weak, Source(V, "vhs"), "vhs"),
    (Strong, Source(V, "laserdisc"), "laserdisc ldrip"),
    (Weak, Source(V, "workprint"), "workprint"),
    (Weak, Source(V, "r5"), "r5"),
    // Where music was taken from.
    (Strong, Source(A, "cd"), "cdrip cdda eaclog"),
    (Weak, Source(A, "cd"), "cd eac"),
    (Strong, Source(A, "vinyl"), "vinylrip lprip"),
    (Weak, Source(A, "vinyl"), "vinyl lp"),
    (Strong, Source(A, "sacd"), "sacd sacdr"),
    (Weak, Source(A, "cassette"), "cassette"),
    // Tags of videos that say nothing that is kept.
    (Strong, Hint(V, 2), "hdrip remux bdremuxer 10bit 8bit hi10p hi10 hdr10 hdr10plus dolbyvision sdr dvhe"),
    (Strong, Maker(V, 2), "yify yts rarbg eztv psa qxr tigole galaxyrg"),
    (
        Weak,
        Hint(V, 1),
        "hdr dv hq hdlight microhd mhd 3d hsbs sbs hou halfsbs imax uncut extended theatrical proper internal limited unrated \
        remastered hybrid dubbed dub subbed subs sub hardsub softsub hardcoded movie movies film episode episodes sitcom documentary \
        anime ova oad ona pal ntsc complete criterion batch фильм сериал мультфильм",
    ),
    (
        Weak,
        Nothing,
        "atmos 51 71 20 rerip readnfo nfofix dirfix multi dual dualaudio multiaudio subtitles multisub msubs esub esubs \
        read real retail repack rip by",
    ),
    // Sounds.
    (
        Strong,
        Hint(A, 3),
        "discography discografia discographie дискография audiobook audiobooks аудиокнига hörbuch audiolibro livreaudio soundtrack ost",
    ),
    (
        Weak,
        Hint(A, 1),
        "album albums ep single singles mixtape lossless hires bootleg deluxe remaster compilation greatest hits va bpm \
        musik music audio live fm unabridged abridged podcast samples sample loops vst kontakt 24bit 16bit 24bits 44khz 48khz 96khz 192khz",
    ),
    // To be read.
    (
        Strong,
        Hint(B, 3),
        "epub mobi azw3 pdf cbr cbz djvu fb2 ebook ebooks ebookee graphicaudio manga manhwa manhua",
    ),
    (
        Weak,
        Hint(B, 1),
        "book books magazine magazines comic comics novel novels isbn chapters volume vol vols handbook textbook press \
        packt oreilly wiley springer apress manning digital scan scanlation книга журнал комикс учебник",
    ),
    // Programs.
    (
        Strong,
        Hint(S, 3),
        "keygen activator incl cracked patched preactivated multilingual amd64 arm64 win64 win32 macosx macos apk winall nulled \
        linux ubuntu debian fedora archlinux kali centos freebsd openbsd opensuse gentoo raspbian win10 win11 winxp adobe autodesk photoshop \
        autocad solidworks matlab vmware coreldraw kaspersky antivirus",
    ),
    (
        Weak,
        Hint(S, 1),
        "x64 x86 x32 i386 i686 portable setup installer crack patch serial license pro professional enterprise ultimate plugin \
        plugins software microsoft office windows server build beta rtm oem iso bootable livecd live dvd1 netinst desktop android mac os osx \
        converter recovery manager driver drivers suite studio toolkit utility",
    ),
    // Games.
    (
        Strong,
        Maker(G, 4),
        "fitgirl dodi codex skidrow reloaded plaza tenoke elamigos empress darksiders tinyiso simplex hoodlum chronos \
        razor1911 xatab decepticon kaos goldberg razordox corepack mechanics catalyst seyter unleashed postmortem prophet",
    ),
    (Weak, Maker(G, 3), "rune flt cpy doge gog fairlight"),
    (
        Strong,
        Hint(G, 4),
        "nsw nsp xci ps4 ps5 ps3 psvita psv psx ps1 ps2 xbox xbox360 wiiu 3ds nds gba snes roms romset mame repackgame",
    ),
    (
        Weak,
        Hint(G, 3),
        "dlc dlcs wii psp switch gamecube gcn dreamcast n64 nes sega pcgame pcgames steamrip igg oceanofgames",
    ),
    (
        Weak,
        Hint(G, 1),
        "game games repack update updates multi2 multi3 multi4 multi5 multi6 multi7 multi8 multi9 multi10 multi11 multi12 multi13 \
        multi14 multi15 multi16 steam goty trainer region usa pal ntscu rom игра игры",
    ),
    // Pictures.
    (Strong, Hint(I, 3), "wallpapers wallpaper clipart photoset photosets artbook"),
    (
        Weak,
        Hint(I, 1),
        "photos photo pictures pics images picset jpg jpeg png textures gallery stock vectors",
    ),
    // Languages, by their names in English and their own, and the codes that releases use.
    (Weak, Language("en"), "english eng engsub engsubs engdub inglese ingles"),
    (Weak, Language("fr"), "french français francais fre vff vfq vf vfi vf2 vof fra"),
    (Strong, Language("fr"), "truefrench vostfr subfrench"),
    (Weak, Language("de"), "german deutsch ger deu germansub"),
    (Weak, Language("it"), "italian italiano ita"),
    (Strong, Language("it"), "subita"),
    (Weak, Language("es"), "spanish español espanol castellano latino esp spa lat vose"),
    (Weak, Language("pt"), "portuguese português portugues dublado legendado ptbr pt por nacional"),
    (Weak, Language("ru"), "russian rus ru дб дубляж рус русский русская лицензия"),
    (Weak, Language("uk"), "ukrainian ukr ua укр"),
    (Weak, Language("pl"), "polish polski polska lektor pl pldub plsub napisypl dubpl"),
    (Weak, Language("cs"), "czech cesky cz cze čeština dabing"),
    (Weak, Language("sk"), "slovak slovensky svk"),
    (Weak, Language("hu"), "hungarian magyar hun"),
    (Weak, Language("ro"), "romanian romana rosub"),
    (Weak, Language("bg"), "bulgarian bgaudio bgsub"),
    (Weak, Language("el"), "greek greeksub"),
    (Weak, Language("tr"), "turkish türkçe turkce tur dublaj altyazılı"),
    (Weak, Language("nl"), "dutch nederlands nlsub nlsubs flemish vlaams"),
    (Weak, Language("sv"), "swedish svenska swe swesub"),
    (Weak, Language("no"), "norwegian norsk norsub"),
    (Weak, Language("da"), "danish dansk dksub danishsubs"),
    (Weak, Language("fi"), "finnish suomi finsub"),
    (Weak, Language("is"), "icelandic"),
    (Weak, Language("et"), "estonian"),
    (Weak, Language("lv"), "latvian"),
    (Weak, Language("lt"), "lithuanian"),
    (Weak, Language("hr"), "croatian hrvatski"),
    (Weak, Language("sr"), "serbian srpski"),
    (Weak, Language("sl"), "slovenian slosubs"),
    (Weak, Language("ca"), "catalan català"),
    (Weak, Language("he"), "hebrew heb hebsub"),
    (Weak, Language("ar"), "arabic ara arabsub"),
    (Weak, Language("fa"), "persian farsi"),
    (Weak, Language("hi"), "hindi hin hindidub"),
    (Weak, Language("ta"), "tamil tam"),
    (Weak, Language("te"), "telugu tel"),
    (Weak, Language("ml"), "malayalam mal"),
    (Weak, Language("kn"), "kannada kan"),
    (Weak, Language("bn"), "bengali bangla"),
    (Weak, Language("mr"), "marathi"),
    (Weak, Language("pa"), "punjabi"),
    (Weak, Language("gu"), "gujarati"),
    (Weak, Language("ur"), "urdu"),
    (Weak, Language("zh"), "chinese mandarin cantonese chs cht chi big5"),
    (Weak, Language("ja"), "japanese jpn jap"),
    (Weak, Language("ko"), "korean kor"),
    (Weak, Language("th"), "thai"),
    (Weak, Language("vi"), "vietnamese vietsub"),
    (Weak, Language("id"), "indonesian subindo"),
    (Weak, Language("ms"), "malay"),
    (Weak, Language("tl"), "tagalog filipino"),
    (Bracketed, Language("en"), "en"),
    (Bracketed, Language("fr"), "fr"),
    (Bracketed, Language("de"), "de"),
    (Bracketed, Language("it"), "it"),
    (Bracketed, Language("es"), "es"),
    (Bracketed, Language("ja"), "ja jp"),
    (Bracketed, Language("ko"), "ko kr"),
    (Bracketed, Language("zh"), "zh cn"),
    (Bracketed, Language("nl"), "nl"),
    (Bracketed, Language("sv"), "se"),
];

/// What a word says. Of several lines the one that comes first.
pub(super) fn tag_of(word: &str) -> Option<(Strength, Tag)> {
    static INDEX: OnceLock<HashMap<&'static str, (Strength, Tag)>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        let mut index = HashMap::new();
        for (strength, tag, words) in TABLE {
            for word in words.split_ascii_whitespace() {
                index.entry(word).or_insert((*strength, *tag));
            }
        }
        index
    });
    index.get(word).copied()
}

/// Longest word of the table, in bytes: what is longer need not be looked up.
pub(super) const WORD_BYTES_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_table_can_be_a_piece_or_two() {
        for (_, tag, words) in TABLE {
            for word in words.split_ascii_whitespace() {
                assert!(word.len() <= WORD_BYTES_MAX, "{word}");
                assert!(word.chars().all(char::is_alphanumeric) && word.to_lowercase() == word, "{word}");
                assert!(tag_of(word).is_some());
                if let Language(code) = tag {
                    assert_eq!(code.len(), 2);
                }
            }
        }
        assert_eq!(tag_of("webdl"), Some((Strong, Source(V, "web-dl"))));
        assert_eq!(tag_of("glass"), None);
    }
}
