"""Which packs a check reads when it does not read all: restic's words for it."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from icebrick.errors import UsageError

MOST_GROUPS = 256

_GROUP = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)%")
_SIZE = re.compile(r"([0-9]{1,18})([KMGT])", re.IGNORECASE)
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True, slots=True)
class Subset:
    """One of three: the `group`-th of `groups` equal parts, always the same; or by chance a share, or so many bytes."""

    group: int = 1
    groups: int = 1
    share: float | None = None
    size: int | None = None

    def choose(self, packs: Mapping[bytes, int], chance: random.Random) -> list[bytes]:
        """Of packs and their sizes, in order; by chance at least one, if there is any."""
        if self.share is not None:
            count = max(1, int(len(packs) * self.share))
            return sorted(chance.sample(sorted(packs), min(count, len(packs))))
        if self.size is not None:
            return sorted(_up_to(chance.sample(sorted(packs), len(packs)), packs, self.size))
        return [pack for pack in sorted(packs) if pack[0] % self.groups == self.group - 1]


ALL = Subset()


def parse_subset(text: str) -> Subset:
    """From `n/t`, `x%`, or a size with K, M, G or T; UsageError."""
    if match := _GROUP.fullmatch(text):
        group, groups = map(int, match.groups())
        if 1 <= group <= groups <= MOST_GROUPS:
            return Subset(group, groups)
    elif (match := _PERCENT.fullmatch(text)) and 0 < float(match[1]) <= 100:
        return Subset(share=float(match[1]) / 100)
    elif (match := _SIZE.fullmatch(text)) and int(match[1]):
        return Subset(size=int(match[1]) * _UNITS[match[2].upper()])
    raise UsageError(
        f"{text!r} is no subset of the data",
        hint=f"Such as 1/7 (of at most {MOST_GROUPS} parts), 2.5% or 50G; the last two are chosen by chance.",
    )


def _up_to(shuffled: Sequence[bytes], sizes: Mapping[bytes, int], most: int) -> list[bytes]:
    """The first, and those after it as long as there is room."""
    chosen, total = list(shuffled[:1]), sum(sizes[pack] for pack in shuffled[:1])
    for pack in shuffled[1:]:
        if total + sizes[pack] <= most:
            chosen.append(pack)
            total += sizes[pack]
    return chosen
