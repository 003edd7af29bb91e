//! Extensions of files: which there are in a torrent, and what they say.

use std::collections::HashMap;

use super::{marks, tags::tag_of};
use crate::file_list::File;

/// Extensions of a torrent that are marked: those that hold most bytes. What is beyond is a disk's worth of odds and ends.
pub const EXTENSIONS_MAX: usize = 16;

/// Longest extension, in bytes: `appimage`, `torrent` and `download` have 8.
const EXTENSION_BYTES_MAX: usize = 8;

/// Different extensions of one torrent that are summed up; files of further ones are left out. A torrent of 200,000 files can make up as many.
const DISTINCT_MAX: usize = 512;

/// What files of an extension are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Content {
    Video,
    Audio,
    Book,
    Software,
    Game,
    Image,
    Archive,
    /// An image of a disc or a disk: a film, a game, a program, a system.
    Disc,
    /// A part of a program as well as of a game.
    Program,
    /// Goes with something else and says nothing of it: subtitles, notes, checksums.
    Beside,
}

/// Sorted by extension within each line's content; what stands in two lines would be found in the first.
const TABLE: &[(Content, &[&str])] = &[
    (
        Content::Video,
        &[
            "3g2", "3gp", "264", "265", "amv", "asf", "avi", "bdmv", "bik", "divx", "dv", "evo", "f4v",
            "flv", "h264", "h265", "hevc", "ifo", "m1v", "m2p", "m2t", "m2ts", "m2v", "m4v", "mk3d", "mkv",
            "mov", "mp4", "mpeg", "mpg", "mpv", "mts", "mxf", "ogm", "ogv", "qt", "rm", "rmvb", "strm",
            "swf", "tp", "trp", "ts", "vob", "vro", "webm", "wmv", "wtv", "xvid", "y4m",
        ],
    ),
    (
        Content::Audio,
        &[
            "aac", "ac3", "aif", "aiff", "alac", "amr", "ape", "au", "awb", "dff", "dsf", "dts", "eac3",
            "flac", "gp", "gp3", "gp4", "gp5", "gpx", "it", "kar", "m3u", "m3u8", "m4a", "m4b", "m4p", "mid",
            "midi", "mka", "mlp", "mod", "mogg", "mp1", "mp2", "mp3", "mpc", "nki", "nkx", "oga", "ogg",
            "opus", "ra", "ram", "rex", "rx2", "s3m", "sf2", "sfz", "shn", "spx", "tak", "thd", "truehd",
            "tta", "voc", "w64", "wav", "wma", "wv", "xm",
        ],
    ),
    (
        Content::Book,
        &[
            "azw", "azw3", "azw4", "cb7", "cba", "cbr", "cbt", "cbz", "chm", "djv", "djvu", "doc", "docx",
            "epub", "fb2", "ibooks", "kepub", "kf8", "kfx", "kpf", "lit", "lrf", "mobi", "odp", "ods", "odt",
            "oxps", "pdb", "pdf", "ppt", "pptx", "prc", "ps", "rtf", "tcr", "tex", "xls", "xlsx", "xps",
        ],
    ),
    (
        Content::Software,
        &[
            "aab", "apk", "apkm", "app", "appimage", "appx", "bz2", "cab", "crx", "deb", "dmg", "exe",
            "flatpak", "gho", "ipa", "jar", "kext", "mpkg", "msi", "msix", "msp", "msu", "ova", "ovf", "pkg",
            "ps1", "py", "qcow2", "rpm", "run", "sh", "snap", "squashfs", "swm", "vdi", "vhd", "vhdx",
            "vmdk", "vst3", "wim", "xapk", "xpi",
        ],
    ),
    (
        Content::Game,
        &[
            "3ds", "a26", "a78", "adf", "cci", "cdi", "chd", "cia", "cso", "d64", "dol", "gb", "gba", "gbc",
            "gcm", "gcz", "gdi", "gen", "gg", "lnx", "n64", "nds", "nes", "ngc", "nkit", "nsp", "nsz", "pak",
            "pbp", "pce", "pck", "pup", "rpf", "rvz", "sfc", "smc", "smd", "sms", "swc", "tap", "tzx", "unf",
            "v64", "vpk", "wad", "wbfs", "wia", "wsc", "wua", "wud", "wux", "xci", "xcz", "xex", "z64",
            "z80",
        ],
    ),
    (
        Content::Image,
        &[
            "ai", "arw", "avif", "bmp", "cdr", "cr2", "cr3", "dds", "dng", "eps", "exr", "gif", "hdr",
            "heic", "heif", "ico", "jfif", "jpe", "jpeg", "jpg", "jxl", "nef", "orf", "pcx", "png", "ppm",
            "psb", "psd", "raf", "raw", "rw2", "svg", "tga", "tif", "tiff", "webp", "xcf",
        ],
    ),
    (
        Content::Archive,
        &[
            "001", "002", "003", "004", "005", "7z", "ace", "arc", "arj", "gz", "lha", "lz", "lz4", "lzh",
            "lzma", "rar", "sit", "sitx", "tar", "tbz", "tgz", "txz", "warc", "xz", "z", "zip", "zipx",
            "zst",
        ],
    ),
    (
        Content::Disc,
        &[
            "bin", "ccd", "cue", "daa", "ima", "img", "iso", "isz", "mdf", "mds", "mdx", "nrg", "toast",
            "uif", "vcd",
        ],
    ),
    (Content::Program, &["bat", "dat", "dll", "dylib", "ini", "so", "sys"]),
    (
        Content::Beside,
        &[
            "ass", "bup", "clpi", "crc", "css", "diz", "htm", "html", "idx", "info", "js", "json", "log",
            "lnk", "lrc", "markdown", "md", "md5", "mpls", "nfo", "nzb", "par2", "parts", "pls", "sfv",
            "sha1", "sha256", "smi", "srr", "srs", "srt", "ssa", "sub", "sup", "torrent", "txt", "url",
            "usf", "vtt", "webloc", "xml",
        ],
    ),
];

/// What an extension, in lower case, says.
pub(super) fn content_of(extension: &str) -> Option<Content> {
    // Parts of split archives: r00 to r99 and beyond (s00…), 006 and further.
    if let [first, rest @ ..] = extension.as_bytes()
        && rest.len() == 2
        && rest.iter().all(u8::is_ascii_digit)
        && matches!(first, b'r' | b's' | b't' | b'0' | b'z')
    {
        return Some(Content::Archive);
    }
    index().get(extension).copied()
}

/// The table turned round, made once.
fn index() -> &'static HashMap<&'static str, Content> {
    static INDEX: std::sync::OnceLock<HashMap<&'static str, Content>> = std::sync::OnceLock::new();
    INDEX.get_or_init(|| {
        let pairs = TABLE.iter().rev().flat_map(|(content, list)| list.iter().map(|one| (*one, *content)));
        pairs.collect()
    })
}

/// The extension of a file's name, as written; `None` when what follows the last dot is none, as in `Ubuntu 24.04`.
pub(super) fn extension_of(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    let bytes = extension.as_bytes();
    let plain = !stem.is_empty()
        && (1..=EXTENSION_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(u8::is_ascii_alphanumeric);
    if !plain {
        return None;
    }
    let mut lower = [0; EXTENSION_BYTES_MAX];
    let lower = &mut lower[..bytes.len()];
    lower.copy_from_slice(bytes);
    lower.make_ascii_lowercase();
    let lower = std::str::from_utf8(lower).ok()?;
    // What nobody knows is one unless it looks like a piece of a title: a number, a tag, or digits in a long word (`S02E05`).
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_piece = digits == bytes.len() || digits > 0 && bytes.len() > 3 || tag_of(lower).is_some();
    (content_of(lower).is_some() || !is_piece).then_some(extension)
}

/// Bytes by extension, in lower case: most bytes first, then by the alphabet.
pub(super) fn extensions(files: &[File]) -> Vec<(String, u64)> {
    let mut sums: HashMap<String, u64> = HashMap::new();
    let mut lower = String::new();
    for (path, length) in files {
        let Some(extension) = path.last().and_then(|name| extension_of(name)) else { continue };
        lower.clear();
        lower.push_str(extension);
        lower.make_ascii_lowercase();
        if let Some(sum) = sums.get_mut(&lower) {
            *sum = sum.saturating_add(*length);
        } else if sums.len() < DISTINCT_MAX {
            sums.insert(lower.clone(), *length);
        }
    }
    let mut all: Vec<(String, u64)> = sums.into_iter().collect();
    all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all
}

/// The marks of the extensions that hold most bytes.
pub fn extension_marks(files: &[File]) -> Vec<String> {
    marks_of(&extensions(files)).collect()
}

/// The marks of the first of these.
pub(super) fn marks_of(extensions: &[(String, u64)]) -> impl Iterator<Item = String> {
    extensions.iter().take(EXTENSIONS_MAX).map(|(extension, _)| marks::of('x', extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &[&str], length: u64) -> File {
        (path.iter().map(|component| (*component).to_owned()).collect(), length)
    }

    #[test]
    fn the_extensions_with_most_bytes_are_marked() {
        let mut files = vec![file(&["a", "film.MKV"], 900), file(&["film.srt"], 3), file(&["b.srt"], 4)];
        assert_eq!(extension_marks(&files), [":xmkv", ":xsrt"]);
        files.extend((0..40).map(|number| file(&[&format!("f.x{number}")], 100 - number)));
        let marks = extension_marks(&files);
        assert_eq!(
            (marks.len(), marks[0].as_str(), marks[1].as_str(), marks[15].as_str()),
            (16, ":xmkv", ":xx0", ":xx14")
        );
    }

    #[test]
    fn numbers_hidden_files_and_long_words_are_no_extensions() {
        for name in
            ["Ubuntu 24.04", "Movie.2019", ".htaccess", "a.", "file", "x.verylongword", "a.b c", "é.ñ", ""]
        {
            assert_eq!(extension_of(name), None, "{name}");
        }
        assert_eq!(extension_of("big.7z.001"), Some("001"));
        assert_eq!(extension_of("a.tar.GZ"), Some("GZ"));
    }

    #[test]
    fn no_extension_stands_in_two_lines_of_the_table() {
        let all: usize = TABLE.iter().map(|(_, list)| list.len()).sum();
        assert_eq!(index().len(), all);
        for extension in TABLE.iter().flat_map(|(_, list)| list.iter()) {
            assert_eq!(extension_of(&format!("x.{extension}")), Some(*extension));
        }
    }

    #[test]
    fn parts_of_archives_are_archives() {
        for part in ["r00", "r99", "s07", "001", "017", "z01", "rar"] {
            assert_eq!(content_of(part), Some(Content::Archive), "{part}");
        }
        assert_eq!((content_of("mkv"), content_of("xyz")), (Some(Content::Video), None));
    }
}
