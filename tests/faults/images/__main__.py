"""python -m tests.faults.images [SEED]: the whole corpus, whose images are made from SEED on."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.faults.images.bases import make_bases
from tests.faults.images.mutations import make_cases
from tests.faults.images.trial import describe, try_cases
from tests.reader import READER_DIR

from icebrick.microvm.image import load_image

SEEDS = 8
"""With seven file systems and ten kinds of damage, 560 images."""


def main(first: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        bases = make_bases(Path(folder))
    outcome = try_cases(make_cases(bases, range(first, first + SEEDS)), load_image(READER_DIR))
    print(describe(outcome))
    return 1 if outcome.escapes else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 0))
