"""Torrents to seed: info dicts made by an encoder of our own, and what an indexer must say about each.

Nothing has content. Piece hashes are random, but the hash trees of v2 torrents are consistent, since libtorrent
checks them when a torrent is loaded.
"""

import hashlib
import random

BLOCK = 16 * 1024


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, (list, tuple)):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    pairs = sorted((key.encode() if isinstance(key, str) else key, item) for key, item in value.items())
    return b"d" + b"".join(bencode(key) + bencode(item) for key, item in pairs) + b"e"


def as_text(name):
    """A name as an indexer has to report it: what no text can hold is replaced by U+FFFD, and nothing else is."""
    if isinstance(name, bytes):
        name = name.decode(errors="replace")
    return name.replace("\0", "\ufffd")


class Torrent:
    """One info dict, with the files that are content. `name` and `files` are what its bytes mean."""

    def __init__(self, kind, info, files, versions=("v1",), layers=None, name=None):
        self.kind = kind
        self.raw = bencode(info)
        self.name = info["name"] if name is None else name
        self.files = files
        self.v1 = hashlib.sha1(self.raw).hexdigest() if "v1" in versions else None
        self.v2 = hashlib.sha256(self.raw).hexdigest() if "v2" in versions else None
        self.piece_length = info["piece length"]
        self.private = info.get("private") == 1
        self.layers = layers or {}

    def keys(self):
        """What it is announced under: the v1 hash, and the v2 hash cut to 20 bytes (BEP 52)."""
        return [key for key in (self.v1, self.v2 and self.v2[:40]) if key]

    def metainfo(self):
        layers = b"12:piece layers" + bencode(self.layers) if self.v2 else b""
        return b"d4:info" + self.raw + layers + b"e"

    def truth(self):
        return {
            "kind": self.kind,
            "v1": self.v1,
            "v2": self.v2,
            "name": as_text(self.name),
            "files": [{"path": [as_text(part) for part in path], "length": length} for path, length in self.files],
            "piece_length": self.piece_length,
            "private": self.private,
            "info_bytes": len(self.raw),
        }


def v1_info(rng, name, files, piece_length=BLOCK, single=False, **more):
    """`files` as (path, length) or (path, length, further keys of the entry)."""
    total = sum(entry[1] for entry in files)
    info = {"name": name, "piece length": piece_length, "pieces": rng.randbytes(20 * -(-total // piece_length))}
    if single:
        info["length"] = total
    else:
        info["files"] = [
            {"path": list(entry[0]), "length": entry[1], **(entry[2] if len(entry) > 2 else {})} for entry in files
        ]
    info.update(more)
    return info


def merkle_root(leaves, padding):
    layer = list(leaves)
    while len(layer) & (len(layer) - 1):
        layer.append(padding)
    while len(layer) > 1:
        layer = [hashlib.sha256(left + right).digest() for left, right in zip(layer[::2], layer[1::2])]
    return layer[0]


def v2_torrent(rng, kind, name, files, piece_length=BLOCK, hybrid=False):
    files = sorted(files, key=lambda file: [part.encode() for part in file[0]])
    empty_piece = merkle_root([bytes(32)] * (piece_length // BLOCK), bytes(32))
    tree, layers = {}, {}
    for path, length in files:
        leaf = {"length": length}
        if length > piece_length:
            hashes = [rng.randbytes(32) for _ in range(-(-length // piece_length))]
            leaf["pieces root"] = merkle_root(hashes, empty_piece)
            layers[leaf["pieces root"]] = b"".join(hashes)
        elif length:
            leaf["pieces root"] = rng.randbytes(32)
        folder = tree
        for part in path[:-1]:
            folder = folder.setdefault(part, {})
        folder[path[-1]] = {"": leaf}
    info = {"name": name, "piece length": piece_length, "meta version": 2, "file tree": tree}
    if hybrid:
        entries, offset = [], 0
        for path, length in files:
            gap = -offset % piece_length
            if gap and length:
                entries.append({"attr": "p", "length": gap, "path": [".pad", str(gap)]})
                offset += gap
            entries.append({"length": length, "path": path})
            offset += length
        info["pieces"] = rng.randbytes(20 * -(-offset // piece_length))
        if [path for path, _ in files] == [[name]]:
            info["length"] = files[0][1]
        else:
            info["files"] = entries
    return Torrent(kind, info, files, ("v1", "v2") if hybrid else ("v2",), layers)


WORDS = (
    "harbour lantern orchard winter signal copper meadow archive engine island paper river "
    "тихий берег вокзал песня зима 東方 物語 音楽 海辺 城市 바람 노래 مكتبة موسيقى संगीत पुस्तक θάλασσα ספר 🎬 🌊 Größe naïve"
).split()
EXTENSIONS = "mkv mp4 flac mp3 pdf epub iso srt nfo jpg".split()


def regular(rng):
    """A torrent of no special interest: one file, several, folders, v2 or hybrid."""

    def words(least, most):
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(least, most)))

    name = f"{words(2, 5)} {rng.randint(1950, 2025)} [{rng.getrandbits(24):06x}]"
    piece_length = BLOCK << rng.randint(0, 6)
    size = lambda: rng.randint(1, 30 * piece_length)
    shape = rng.choices(["single", "flat", "folders", "hybrid", "v2"], [30, 35, 15, 12, 8])[0]
    if shape == "single":
        name = f"{name}.{rng.choice(EXTENSIONS)}"
        files = [([name], size())]
        return Torrent(shape, v1_info(rng, name, files, piece_length, single=True), files)
    files = []
    for number in range(rng.choice([2, 3, 5, 10, 30])):
        folders = [f"{words(1, 2)} {depth}" for depth in range(rng.randint(0, 3))] if shape != "flat" else []
        files.append((folders + [f"{number:02} {words(1, 3)}.{rng.choice(EXTENSIONS)}"], size()))
    if shape in ("hybrid", "v2"):
        return v2_torrent(rng, shape, name, files, piece_length, hybrid=shape == "hybrid")
    return Torrent(shape, v1_info(rng, name, files, piece_length), files)


def filled_to(rng, kind, info_bytes):
    """An info dict of exactly this many bytes."""
    files = [(["one.bin"], 1)]
    info = v1_info(rng, kind, files)
    spare = info_bytes - len(bencode(info))
    for filler in range(spare, 0, -1):
        if len(bencode({**info, "x-fill": b"." * filler})) == info_bytes:
            return Torrent(kind, {**info, "x-fill": b"." * filler}, files)
    raise ValueError(f"no info dict has {info_bytes} bytes")


def awkward(rng):
    """One torrent of each kind that has confused some indexer."""
    made = []

    def v1(kind, name, files, report=None, report_name=None, **more):
        info = v1_info(rng, name, files, **more)
        reported = [entry[:2] for entry in files] if report is None else report
        made.append(Torrent(kind, info, reported, name=report_name))

    v1("every script", "Ёлка 戦争と平和 서울 مكتبة हिन्दी ספר 🎧 Cafe\u0301",
       [(["第一話「始」.mkv"], 3 << 30), (["субтитры", "русские.srt"], 41_000), (["🎬", "סוף.flac"], 1 << 25)],
       piece_length=1 << 22)
    v1("thirty levels", "deep", [([f"level {n}" for n in range(depth)] + ["here.txt"], 100 + depth) for depth in range(30)])
    v1("3000 files", "three thousand", [([f"folder {n // 60}", f"{n:04}.jpg"], 1_000 + n) for n in range(3_000)])
    v1("metadata of 1.2 MB", "sixty thousand pieces.bin", [(["sixty thousand pieces.bin"], 60_000 * BLOCK)], single=True)
    made.append(filled_to(rng, "metadata of 16384 bytes", BLOCK))
    made.append(filled_to(rng, "metadata of 16385 bytes", BLOCK + 1))
    v1("private", "not for you", [(["hidden.bin"], 70_000)], private=1, source="SOMEWHERE")
    v1("cp1251", "Русская кодировка".encode("cp1251"), [(["Старинная музыка.txt".encode("cp1251")], 777)],
       report=[(["Старинная музыка.txt"], 777)], report_name="Русская кодировка")
    v1("cp1251 declared", "Тихий берег".encode("cp1251"), [(["Песня.mp3".encode("cp1251")], 778)],
       report=[(["Песня.mp3"], 778)], report_name="Тихий берег", encoding="windows-1251")
    v1("shift-jis beside utf-8", "日本の音楽".encode("shift_jis"),
       [(["海辺.mp3".encode("shift_jis")], 779, {"path.utf-8": ["海辺.mp3"]})],
       report=[(["海辺.mp3"], 779)], report_name="日本の音楽", **{"name.utf-8": "日本の音楽"})
    v1("damaged utf-8", "Größe und Länge für Übung ".encode() + b"\xff", [(["été à la forêt, déjà".encode() + b" \xc3.bin"], 780)])
    v1("NUL and control", "a NUL \x00 an escape \x1b[31m a bell \x07",
       [(["n\x00l.txt"], 5), (["new\nline.txt"], 6), (["tab\t.txt"], 7)])
    v1("path traversal", "../../etc/passwd", [(["..", "..", "up.txt"], 5), (["", "nothing.txt"], 6), (["a/b\\c.txt"], 7)])
    v1("no name", "", [(["nameless.txt"], 5)])
    v1("1500 characters", "n" * 1500, [(["é" * 300 + ".txt"], 5)])
    v1("bidi and zero width", "invoice\u202efdp.exe\u200b zero\u200dwidth\ufeff", [(["\u2066inside\u2069.txt"], 1)])
    v1("empty files", "some are empty", [(["first"], 0), (["second"], 100), (["third"], 0)])
    pad = 4 * BLOCK - 1_000
    v1("padding by attribute", "BEP 47",
       [(["a.bin"], 1_000, {"attr": "x", "sha1": b"s" * 20}), ([".pad", str(pad)], pad, {"attr": "p"}), (["b.bin"], 2_000, {"attr": "h"})],
       report=[(["a.bin"], 1_000), (["b.bin"], 2_000)], piece_length=4 * BLOCK)
    v1("padding by name", "BitComet",
       [(["a.bin"], 1_000), (["_____padding_file_0_if you see this file, please update to BitComet 0.85 or above____"], pad), (["b.bin"], 2_000)],
       report=[(["a.bin"], 1_000), (["b.bin"], 2_000)], piece_length=4 * BLOCK)
    v1("terabytes", "very large", [(["large.bin"], 5 << 40)], piece_length=1 << 27)
    v1("unknown keys", "more than was asked", [(["one"], 9)],
       **{"x-nested": {"a": [1, [2, b"\xff"]]}, "publisher": "nobody", "collections": ["one", "two"]})
    v1("equal paths", "twice the same", [(["same.txt"], 1), (["same.txt"], 2), (["SAME.TXT"], 3)])
    made.append(v2_torrent(rng, "v2 single", "alone in v2.bin", [(["alone in v2.bin"], 300_000)], 4 * BLOCK))
    made.append(v2_torrent(rng, "v2 folders", "ünïcode in v2",
                           [(["folder", "ä.txt"], 10), (["folder", "sub", "b.bin"], 900_000), (["z"], 0)], 2 * BLOCK))
    made.append(v2_torrent(rng, "hybrid single", "alone in both.bin", [(["alone in both.bin"], 123_456)], hybrid=True))
    made.append(v2_torrent(rng, "hybrid folders", "several in both",
                           [(["a.bin"], 100_000), (["b", "c.bin"], 70_000), (["d.txt"], 1)], hybrid=True))
    made.append(v2_torrent(rng, "hybrid of 400 files", "many in both",
                           [([f"{n:03}"], 20_000 + n) for n in range(400)], hybrid=True))
    return made


def all_torrents(seed, count):
    """`count` regular torrents and the awkward ones."""
    rng = random.Random(seed)
    return [regular(rng) for _ in range(count)] + awkward(rng)
