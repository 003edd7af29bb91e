//! The words that names are made of.

pub(crate) const FIRST_WORDS: &[&str] = &[
    "Silent",
    "Northern",
    "Broken",
    "Golden",
    "Hidden",
    "Midnight",
    "Scarlet",
    "Winter",
    "Hollow",
    "Electric",
    "Distant",
    "Crooked",
    "Paper",
    "Iron",
    "Velvet",
    "Lonely",
    "Burning",
    "Quiet",
    "Savage",
    "Glass",
    "Copper",
    "Forgotten",
    "Restless",
    "Emerald",
    "Bitter",
    "Wandering",
    "Frozen",
    "Crystal",
    "Second",
    "Secret",
    "Ancient",
    "Pale",
    "Thirteenth",
    "Gentle",
    "Reluctant",
    "Café",
    "Naïve",
    "Ångström",
    "Größte",
    "Último",
];

pub(crate) const NOUNS: &[&str] = &[
    "Harbour",
    "Mountain",
    "Letter",
    "Garden",
    "Station",
    "River",
    "Empire",
    "Orchard",
    "Detective",
    "Voyage",
    "Shadow",
    "Kingdom",
    "Lighthouse",
    "Machine",
    "Horizon",
    "Stranger",
    "Museum",
    "Festival",
    "Colony",
    "Desert",
    "Promise",
    "Circus",
    "Engineer",
    "Island",
    "Cathedral",
    "Frontier",
    "Passenger",
    "Archive",
    "Carnival",
    "Market",
    "Valley",
    "Bridge",
    "Theatre",
    "Astronomer",
    "Locksmith",
    "Monsoon",
    "Cartographer",
    "Expedition",
    "Winterreise",
    "Corazón",
];

pub(crate) const ALBUM_NOUNS: &[&str] = &[
    "Foxes",
    "Parade",
    "Orchestra",
    "Radio",
    "Tigers",
    "Sisters",
    "Machine",
    "Wolves",
    "Ensemble",
    "Quartet",
    "Collective",
    "Pilots",
    "Brothers",
    "Choir",
    "Satellites",
    "Motel",
];

pub(crate) const RESOLUTIONS: &[&str] = &["1080p", "720p", "2160p", "480p", "REPACK.1080p", "PROPER.720p"];

pub(crate) const SOURCES: &[&str] = &["BluRay", "WEB-DL", "WEBRip", "HDTV", "DVDRip", "AMZN.WEB-DL.DDP5.1"];

pub(crate) const CODECS: &[&str] = &["x264", "x265", "H264", "HEVC.10bit", "AV1", "XviD"];

pub(crate) const GROUPS: &[&str] = &[
    "KESTREL", "NORDiC", "FoxGlove", "QUARTZ", "LANTERN", "ZEPHYR", "mSPARROW", "TiDE", "OBSiDiAN", "PEWTER",
];

pub(crate) const SOFTWARE: &[&str] = &[
    "fernlinux",
    "opencartographer",
    "Quarry Studio",
    "brassos",
    "tinydb-suite",
    "Meadow Office",
    "kilnbsd",
    "Harpsichord DAW",
    "astrolabe",
    "papermill",
];

pub(crate) const AUTHORS: &[&str] = &[
    "A. Lindqvist",
    "M. Okonkwo",
    "J. Pereira",
    "S. Nakamura",
    "R. Delacroix",
    "T. Ivanova",
    "H. Müller",
    "P. Ó Briain",
    "L. Nguyễn",
    "E. Kowalczyk",
    "D. Ramírez",
    "F. Çelik",
];

pub(crate) const SUBJECTS: &[&str] = &[
    "Linear Algebra",
    "Organic Chemistry",
    "Distributed Systems",
    "Roman History",
    "Botany",
    "Typography",
    "Game Theory",
    "Oceanography",
    "Woodworking",
    "Sourdough",
    "Compiler Construction",
    "Astronomy",
    "Beekeeping",
    "Statistics",
    "Bicycle Repair",
    "Music Theory",
];

pub(crate) const BOOK_FORMATS: &[&str] = &["pdf", "epub", "mobi", "djvu"];

pub(crate) const CYRILLIC: &[&str] = &[
    "Тихий",
    "берег",
    "Последний",
    "поезд",
    "Северное",
    "сияние",
    "Старый",
    "город",
    "Зимняя",
    "дорога",
    "Осенний",
    "вальс",
    "Лёгкий",
    "ветер",
    "Красная",
    "площадь",
    "Белые",
    "ночи",
    "Вечер",
    "концерт",
    "Українська",
    "пісня",
];

pub(crate) const HAN: &[&str] = &[
    "东方", "故事", "长河", "城市", "黎明", "春天", "電影", "音樂", "全集", "物語", "銀河", "海辺", "花火",
    "夏休", "雪国", "古都",
];

pub(crate) const KANA: &[&str] =
    &["ものがたり", "サクラ", "ひかり", "メロディー", "かぜ", "ロボット", "うみ", "タイム"];

pub(crate) const HANGUL: &[&str] = &["바람", "이야기", "겨울", "노래", "서울", "하늘", "여행", "드라마"];

pub(crate) const ARABIC: &[&str] = &["مكتبة", "كتاب", "موسيقى", "ليالي", "البحر", "مدينة", "قصة", "الشرق"];

pub(crate) const DEVANAGARI: &[&str] = &["हिन्दी", "संगीत", "कहानी", "पुस्तक", "नगर", "सागर", "यात्रा", "गीत"];

pub(crate) const GREEK: &[&str] = &["θάλασσα", "ιστορία", "μουσική", "νησί", "ταξίδι", "όνειρο"];

pub(crate) const HEBREW: &[&str] = &["ספר", "שירים", "סיפור", "חורף", "דרך", "ירושלים"];

pub(crate) const EMOJI: &[&str] = &["🎬", "🎧", "📚", "🚀", "🌊", "🔥", "👩‍🚀", "🏔️"];
