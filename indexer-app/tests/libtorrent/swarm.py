"""Real libtorrent sessions on loopback that seed known torrents, for tests of an indexer.

Writes what it seeds to --truth (JSON), prints `ready` when every announce has reached several sessions, and stays until
its standard input is closed or it is told to end (SIGTERM). Sessions have addresses --first-ip and following, all at
--port.
"""

import argparse
import ipaddress
import json
import os
import select
import signal
import sys
import tempfile
import time

import libtorrent as lt

from torrents import all_torrents

# How long the DHT of the sessions may take to form and all announces to arrive.
READY_WITHIN_S = 60
# Between announces of one torrent that too few sessions have stored.
ANNOUNCE_AGAIN_S = 5
# Between announces of one session under libtorrent's real limits: each takes two or three packets to every other
# session, and 50 within 10 s would have it blocked for 5 minutes.
REAL_LIMITS_PACE_S = 2.0
# Sessions that must have stored a key: enough for one of them to return it among its samples.
COPIES = 3
# Torrents must stay announced for as long as a test runs.
ANNOUNCE_PERIOD_S = 60


FORCED, ENABLED = 0, 1
RC4, BOTH = 2, 3

# What a session takes: TCP, uTP, the policy about encryption, and which of its methods.
KINDS = {
    "any": (True, True, ENABLED, BOTH),
    "utp": (False, True, ENABLED, BOTH),
    "encrypted": (True, True, FORCED, RC4),
    "encrypted-tcp": (True, False, FORCED, RC4),
    "encrypted-utp": (False, True, FORCED, RC4),
}


def settings(ip, port, kind, real_limits):
    tcp, utp, encryption, level = KINDS[kind]
    chosen = {
        "enable_incoming_tcp": tcp,
        "enable_outgoing_tcp": tcp,
        "enable_incoming_utp": utp,
        "enable_outgoing_utp": utp,
        "in_enc_policy": encryption,
        "out_enc_policy": encryption,
        "allowed_enc_level": level,
        "listen_interfaces": f"{ip}:{port}",
        "listen_system_port_fallback": False,
        "peer_fingerprint": "-LT2110-",
        "alert_mask": lt.alert.category_t.dht_notification,
        # Nothing but the DHT among ourselves finds peers, and nothing leaves the machine.
        "enable_dht": True,
        "dht_bootstrap_nodes": "",
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        # On loopback all nodes are of one /24, have no ids of BEP 42, and peers come from few addresses.
        "dht_restrict_routing_ips": False,
        "dht_restrict_search_ips": False,
        "dht_enforce_node_id": False,
        "dht_prefer_verified_node_ids": False,
        "dht_ignore_dark_internet": False,
        "allow_multiple_connections_per_ip": True,
        "dht_announce_interval": ANNOUNCE_PERIOD_S,
        # Every torrent is active, however many there are.
        "active_limit": -1,
        "active_seeds": -1,
        "active_dht_limit": -1,
        "connections_limit": 500,
        "listen_queue_size": 200,
    }
    if not real_limits:
        chosen |= {
            "dht_block_ratelimit": 1_000_000,
            "dht_upload_rate_limit": 100_000_000,
            "dht_sample_infohashes_interval": 0,
        }
    return chosen


class Session:
    def __init__(self, ip, port, kind, folder, real_limits):
        self.endpoint = (ip, port)
        self.folder = folder
        parameters = lt.session_params()
        parameters.settings = settings(ip, port, kind, real_limits)
        self.session = lt.session(parameters)
        self.handles = {}
        # When each key was announced last, and when the next one may be.
        self.announced_at = {}
        self.next_announce = 0

    def seed(self, torrent):
        parameters = lt.load_torrent_buffer(torrent.metainfo())
        parameters.save_path = self.folder
        # There is no content to check.
        parameters.flags |= lt.torrent_flags.seed_mode
        parameters.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
        handle = self.session.add_torrent(parameters)
        for key in torrent.keys():
            self.handles[key] = handle

    def announce_some(self, missing, pace):
        """Announces those of the missing keys that are due, `pace` seconds apart."""
        now = time.monotonic()
        for key in missing & self.handles.keys():
            if now >= self.next_announce and now >= self.announced_at.get(key, 0) + ANNOUNCE_AGAIN_S:
                self.handles[key].force_dht_announce()
                self.announced_at[key] = now
                self.next_announce = now + pace

    def announced_here(self):
        """Keys that others announced to this session since the last call."""
        alerts = self.session.pop_alerts()
        return {str(alert.info_hash) for alert in alerts if isinstance(alert, lt.dht_announce_alert)}


def say(text):
    print(f"libtorrent swarm: {text}", file=sys.stderr, flush=True)


class Stop:
    """Set by SIGTERM, and when standard input is at its end."""

    def __init__(self):
        self.told = False
        signal.signal(signal.SIGTERM, self.tell)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def tell(self, *_):
        self.told = True

    def within(self, seconds):
        readable, _, _ = select.select([sys.stdin], [], [], seconds)
        if readable and not os.read(sys.stdin.fileno(), 4096):
            self.told = True
        return self.told


def wait_for_announces(sessions, keys, pace, stop):
    """Until each key is stored by enough sessions; returns those that are not."""
    holders = {key: set() for key in keys}
    enough = min(COPIES, len(sessions) - 1)
    missing, until = set(keys), time.monotonic() + READY_WITHIN_S
    while missing and time.monotonic() < until and not stop.within(0.1):
        for session in sessions:
            session.announce_some(missing, pace)
        for number, session in enumerate(sessions):
            for key in session.announced_here() & missing:
                holders[key].add(number)
        missing = {key for key in missing if len(holders[key]) < enough}
    return missing


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--truth", required=True, help="file to write")
    arguments.add_argument("--first-ip", default="127.0.10.1", type=ipaddress.IPv4Address)
    arguments.add_argument("--port", default=6881, type=int)
    arguments.add_argument("--sessions", default=8, type=int)
    arguments.add_argument("--torrents", default=10, type=int, help="regular torrents of each session")
    arguments.add_argument("--seed", default=1, type=int)
    arguments.add_argument(
        "--kinds", default="any", help="which connections sessions take, in turn, with commas: " + ", ".join(KINDS)
    )
    arguments.add_argument("--real-limits", action="store_true", help="keep libtorrent's limits of DHT traffic")
    chosen = arguments.parse_args()
    addresses = [str(chosen.first_ip + number) for number in range(chosen.sessions)]
    if not all(ipaddress.ip_address(address).is_loopback for address in addresses):
        arguments.error("sessions live on loopback only")
    kinds = chosen.kinds.split(",")
    if not set(kinds) <= KINDS.keys():
        arguments.error("--kinds names one that does not exist")

    stop = Stop()
    torrents = all_torrents(chosen.seed, chosen.sessions * chosen.torrents)
    with tempfile.TemporaryDirectory(prefix="libtorrent-swarm-") as folder:
        sessions = [
            Session(address, chosen.port, kinds[number % len(kinds)], folder, chosen.real_limits)
            for number, address in enumerate(addresses)
        ]
        for number, session in enumerate(sessions):
            for other in {0, (number + 1) % len(sessions), (number + 3) % len(sessions)} - {number}:
                session.session.add_dht_node(sessions[other].endpoint)
        for number, torrent in enumerate(torrents):
            try:
                sessions[number % len(sessions)].seed(torrent)
            except RuntimeError as error:
                sys.exit(f"libtorrent does not take the torrent {torrent.kind!r}: {error}")
        public = [key for torrent in torrents if not torrent.private for key in torrent.keys()]
        began = time.monotonic()
        missing = wait_for_announces(sessions, public, REAL_LIMITS_PACE_S if chosen.real_limits else 0, stop)
        if stop.told:
            return
        if missing:
            kinds = [torrent.kind for torrent in torrents if missing & set(torrent.keys())]
            sys.exit(f"after {READY_WITHIN_S} s too few sessions have stored {kinds}")
        truth = {
            "libtorrent": lt.version,
            "sessions": ["%s:%d" % session.endpoint for session in sessions],
            "torrents": [torrent.truth() for torrent in torrents],
        }
        with open(chosen.truth + ".part", "w", encoding="utf-8") as file:
            json.dump(truth, file, ensure_ascii=False)
        os.replace(chosen.truth + ".part", chosen.truth)
        say(f"{len(public)} announces of {len(torrents)} torrents visible after {time.monotonic() - began:.1f} s")
        print("ready", flush=True)
        while not stop.within(1):
            for session in sessions:
                session.announced_here()
        for session in sessions:
            session.session.pause()


if __name__ == "__main__":
    main()
