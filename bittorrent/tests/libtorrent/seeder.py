"""Real libtorrent sessions on loopback, each of which takes only some kinds of connections.

Prints one line of JSON about them, and stays until its standard input is closed. A line `KIND HASH IP PORT` on it makes the
session of this kind connect to that address, for the metadata of that hash.
"""

import hashlib
import json
import random
import sys
import tempfile
import time

import libtorrent as lt

from torrents import filled_to

FORCED, ENABLED, DISABLED = 0, 1, 2
PLAINTEXT, RC4, BOTH = 1, 2, 3
READY_WITHIN_S = 20
SIZES = [300, 16_384, 30_000, 300_000]


def settings(ip, tcp, utp, encryption, level):
    return {
        "listen_interfaces": f"{ip}:0",
        "enable_incoming_tcp": tcp,
        "enable_outgoing_tcp": tcp,
        "enable_incoming_utp": utp,
        "enable_outgoing_utp": utp,
        "in_enc_policy": encryption,
        "out_enc_policy": encryption,
        "allowed_enc_level": level,
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "allow_multiple_connections_per_ip": True,
        "connections_limit": 200,
        "handshake_timeout": 10,
        "alert_mask": lt.alert.category_t.error_notification | lt.alert.category_t.peer_notification
        | lt.alert.category_t.status_notification,
    }


KINDS = {
    "tcp": (True, False, DISABLED, BOTH),
    "utp": (False, True, DISABLED, BOTH),
    "encrypted tcp": (True, False, FORCED, BOTH),
    "encrypted tcp rc4": (True, False, FORCED, RC4),
    "encrypted tcp plaintext": (True, False, FORCED, PLAINTEXT),
    "encrypted utp": (False, True, FORCED, BOTH),
    "encrypted utp rc4": (False, True, FORCED, RC4),
    "everything": (True, True, ENABLED, BOTH),
}


def start(number, kind, folder):
    parameters = lt.session_params()
    parameters.settings = settings(f"127.0.41.{number + 1}", *KINDS[kind])
    session = lt.session(parameters)
    until = time.monotonic() + READY_WITHIN_S
    while not session.is_listening() or not session.listen_port():
        if time.monotonic() > until:
            sys.exit(f"the session {kind} does not listen")
        time.sleep(0.01)
    return session


def seed(session, torrent, folder):
    parameters = lt.load_torrent_buffer(torrent.metainfo())
    parameters.save_path = folder
    parameters.flags |= lt.torrent_flags.seed_mode
    parameters.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    session.add_torrent(parameters)


def call(session, info_hash, ip, port, folder):
    parameters = lt.add_torrent_params()
    parameters.info_hashes = lt.info_hash_t(lt.sha1_hash(bytes.fromhex(info_hash)))
    parameters.save_path = folder
    parameters.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    session.add_torrent(parameters).connect_peer((ip, int(port)))


def main():
    rng = random.Random(1)
    torrents = [filled_to(rng, f"{size} bytes", size) for size in SIZES]
    with tempfile.TemporaryDirectory(prefix="libtorrent-transports-") as folder:
        sessions = {kind: start(number, kind, folder) for number, kind in enumerate(KINDS)}
        for session in sessions.values():
            for torrent in torrents:
                seed(session, torrent, folder)
        told = {
            "sessions": {
                kind: f"127.0.41.{number + 1}:{session.listen_port()}"
                for number, (kind, session) in enumerate(sessions.items())
            },
            "torrents": [{"hash": hashlib.sha1(t.raw).hexdigest(), "bytes": len(t.raw)} for t in torrents],
        }
        print(json.dumps(told), flush=True)
        for line in sys.stdin:
            kind, info_hash, ip, port = line.strip().rsplit(" ", 3)
            call(sessions[kind], info_hash, ip, port, folder)


if __name__ == "__main__":
    main()
