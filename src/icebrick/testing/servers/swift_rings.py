"""Writes Swift's rings of one device and one copy; the arguments are a folder, and for each kind of server KIND=PORT.

Runs in the environment that has Swift.
"""

from __future__ import annotations

import sys

from swift.common.ring import RingBuilder


def main() -> None:
    folder, *rings = sys.argv[1:]
    for ring in rings:
        kind, _, port = ring.partition("=")
        builder = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
        builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "one", "weight": 1.0})
        builder.rebalance()
        builder.get_ring().save(f"{folder}/{kind}.ring.gz")


if __name__ == "__main__":
    main()
