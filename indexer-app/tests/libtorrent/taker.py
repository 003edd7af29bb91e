"""Real libtorrent sessions that get metadata from somebody who has it.

Reads a JSON list of {"kind", "hash", "peer"} from standard input, has a session of each kind (see `seeder.py`) connect to that
peer for that hash, and prints a JSON list of the names and lengths of what came. With a file as argument it reads that as a
.torrent instead, and prints its info-hashes and name.
"""

import json
import sys
import tempfile
import time

import libtorrent as lt

from seeder import KINDS, settings

PATIENCE_S = 30


def take(order, number, folder):
    parameters = lt.session_params()
    parameters.settings = settings(f"127.0.43.{number + 1}", *KINDS[order["kind"]])
    session = lt.session(parameters)
    wanted = lt.add_torrent_params()
    wanted.info_hashes = lt.info_hash_t(lt.sha1_hash(bytes.fromhex(order["hash"])))
    wanted.save_path = folder
    wanted.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    handle = session.add_torrent(wanted)
    ip, port = order["peer"].rsplit(":", 1)
    handle.connect_peer((ip, int(port)))
    return session, handle


def main():
    if len(sys.argv) > 1:
        torrent = lt.torrent_info(sys.argv[1])
        print(json.dumps({"v1": str(torrent.info_hashes().v1), "name": torrent.name()}))
        return
    orders = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(prefix="libtorrent-taker-") as folder:
        takers = [take(order, number, folder) for number, order in enumerate(orders)]
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and not all(handle.status().has_metadata for _, handle in takers):
            time.sleep(0.02)
        came = []
        for _, handle in takers:
            torrent = handle.torrent_file() if handle.status().has_metadata else None
            came.append(torrent and {"name": torrent.name(), "bytes": len(torrent.info_section())})
        print(json.dumps(came), flush=True)


if __name__ == "__main__":
    main()
