"""Let storms go over backups and restores; print what came of each.

python -m tests.faults.storm [RUNS [FIRST SEED]]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from tests.faults.storm.backups import storm_backup
from tests.faults.storm.outcome import weather_seed
from tests.faults.storm.restores import storm_restore

STORMS = {"backup": storm_backup, "restore": storm_restore}


def main(arguments: Sequence[str]) -> int:
    """One with a single seed when ICEBRICK_STORM_SEED names it."""
    runs, first = (int(text) for text in (*arguments, *("200", "0")[len(arguments) :]))
    alone = os.environ.get("ICEBRICK_STORM_SEED")
    seeds = range(first, first + runs) if alone is None else [int(alone)]
    bad = []
    for seed in seeds:
        for name, storm in STORMS.items():
            outcome = weather_seed(storm, seed)
            print(outcome, flush=True)
            if outcome.problems:
                bad.append(f"{name} {seed}")
    print(f"{len(seeds) * len(STORMS)} storms, {len(bad)} with problems{': ' if bad else ''}{', '.join(bad)}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
