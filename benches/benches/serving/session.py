"""A libtorrent session that does nothing but take part in a DHT: `session.py IP:PORT BOOTSTRAP...`, until standard
input ends."""

import sys

import libtorrent as lt

bind, bootstrap = sys.argv[1], sys.argv[2:]
parameters = lt.session_params()
parameters.settings = {
    "listen_interfaces": bind,
    "listen_system_port_fallback": False,
    "enable_dht": True,
    "dht_bootstrap_nodes": ",".join(bootstrap),
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "alert_mask": 0,
    # On loopback all nodes share few networks and have no ids of BEP 42.
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_enforce_node_id": False,
    "dht_prefer_verified_node_ids": False,
    "dht_ignore_dark_internet": False,
    # Its limits, lifted.
    "dht_block_ratelimit": 1_000_000,
    "dht_upload_rate_limit": 1_000_000_000,
}
session = lt.session(parameters)
sys.stdin.read()
