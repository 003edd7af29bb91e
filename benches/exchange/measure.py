"""Measures imports and exports of a made-up corpus: rate, CPU of the indexer and of its database, peak memory.

python3 benches/exchange/measure.py target/release/indexer [TORRENTS]
"""

import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

INDEXER = os.path.abspath(sys.argv[1])
TORRENTS = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
FILES = 11
TICKS = os.sysconf("SC_CLK_TCK")


def corpus():
    """Torrents with words as seldom as Zipf says, and 11 files in two folders."""
    rng = random.Random(7)
    words = ["".join(rng.choice("abcdefghijklmnoprstuvw") for _ in range(rng.randint(3, 9))) for _ in range(50_000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    picks = iter(rng.choices(words, weights, k=TORRENTS * 8))
    for number in range(TORRENTS):
        name = ".".join(next(picks) for _ in range(5)) + f".{1990 + number % 35}.1080p.WEB-DL.x264"
        extra = [next(picks) for _ in range(3)]
        files = [(f"{extra[file % 2]}/{name}.part{file:02}.{extra[2]}.mkv", rng.randint(1, 1 << 32)) for file in range(FILES)]
        yield hashlib.sha1(str(number).encode()).digest(), name, files


def write_ndjson(path):
    with open(path, "w") as out:
        for key, name, files in corpus():
            line = {"v1": key.hex(), "name": name, "files": [{"path": p.split("/"), "length": n} for p, n in files]}
            out.write(json.dumps(line) + "\n")


def write_magnetico(path):
    database = sqlite3.connect(path)
    database.executescript(
        "create table torrents (id integer primary key, info_hash blob not null unique, name text not null,"
        " total_size integer not null, discovered_on integer not null);"
        "create table files (id integer primary key, torrent_id integer, size integer not null, path text not null);"
    )
    for number, (key, name, files) in enumerate(corpus(), 1):
        total = sum(size for _, size in files)
        database.execute("insert into torrents values (?, ?, ?, ?, ?)", (number, key, name, total, 1_600_000_000 + number))
        database.executemany(
            "insert into files (torrent_id, size, path) values (?, ?, ?)", [(number, size, path) for path, size in files]
        )
    database.commit()
    database.close()


def own_figures(pid):
    """CPU seconds of the process itself, and its peak memory in MB, as of now."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    with open(f"/proc/{pid}/status") as status:
        peak = next((line for line in status if line.startswith("VmHWM")), "VmHWM: 0 kB")
    return (int(fields[11]) + int(fields[12])) / TICKS, int(peak.split()[1]) / 1024


def run(what, *arguments):
    begun = time.monotonic()
    process = subprocess.Popen([INDEXER, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    figures = (0, 0)
    while process.poll() is None:
        try:
            now = own_figures(process.pid)
            # A process that has ended has no memory any more.
            figures = (max(figures[0], now[0]), max(figures[1], now[1]))
        except (FileNotFoundError, ProcessLookupError, IndexError):
            pass
        time.sleep(0.02)
    took = time.monotonic() - begun
    said = process.stderr.read().strip().splitlines()[-1]
    if process.returncode:
        sys.exit(f"{what}: {said}")
    # What its children used came over when they ended: the guard, and through it the database.
    total = os.times()
    children = total.children_user + total.children_system - run.before
    run.before = total.children_user + total.children_system
    own, peak = figures
    print(
        f"| {what} | {TORRENTS / took:,.0f} | {own * 1e6 / TORRENTS:.0f} | {(children - own) * 1e6 / TORRENTS:.0f}"
        f" | {peak:.0f} MB | {said} |",
        flush=True,
    )


run.before = 0.0


def main():
    folder = tempfile.mkdtemp(prefix="indexer-exchange-", dir="/tmp")
    os.chmod(folder, 0o755)
    os.environ["INDEXER_LOG"] = "error"
    try:
        lines, sqlite = f"{folder}/corpus.ndjson", f"{folder}/magnetico.sqlite3"
        write_ndjson(lines)
        write_magnetico(sqlite)
        plain, packed = f"{folder}/all.ndjson", f"{folder}/all.ndjson.zst"
        data = [f"--data-dir={folder}/{number}" for number in range(3)]
        print(f"{TORRENTS} torrents of {FILES} files; load {os.getloadavg()[0]:.0f}")
        print("| | torrents/s | us of the indexer | us of the database | peak RSS | |")
        print("|---|---|---|---|---|---|")
        run("import, plain", "import", lines, data[0])
        run("the same again: all known", "import", lines, data[0])
        run("export, plain", "export", "-o", plain, data[0])
        run("export, zstd", "export", "-o", packed, data[0])
        run("import, zstd", "import", packed, data[1])
        run("import from magnetico", "import", "--from", "magnetico", sqlite, data[2])
        for path in (lines, sqlite, plain, packed):
            print(f"{os.path.basename(path)}: {os.path.getsize(path) / 1e6:.0f} MB")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
