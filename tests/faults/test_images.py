"""Hundreds of damaged and malicious file systems: each ends in a clear word, and none gets out of its target.

What became of them is told at the end of the tests, and by `python -m tests.faults.images`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.faults.images.__main__ import SEEDS
from tests.faults.images.bases import Base, make_bases
from tests.faults.images.mutations import KINDS, Case, crc32c, make_cases
from tests.faults.images.trial import PATIENCE, describe, try_cases

from icebrick.microvm.image import Image

pytestmark = pytest.mark.slow
MOST = 510
"""Four minutes of a processor; the command reads the rest, too."""


@pytest.fixture(scope="module")
def bases(
    root: None, boot_image: Image, tmp_path_factory: pytest.TempPathFactory, require: Callable[[str, Any, str], None]
) -> list[Base]:
    require("vm", set(boot_image.types) >= {"vfat", "ntfs"}, "no ntfs-3g")
    return make_bases(tmp_path_factory.mktemp("bases"))


def test_every_image_ends_in_time_and_within_its_target(
    bases: list[Base], boot_image: Image, record_property: Callable[[str, object], None]
) -> None:
    cases = make_cases(bases, range(SEEDS))[:MOST]
    outcome = try_cases(cases, boot_image)
    record_property("told", describe(outcome))
    assert sum(outcome.ends.values()) == len(cases)
    assert outcome.escapes == []
    assert outcome.longest[0] < PATIENCE.total
    assert len(outcome.lost) < len(cases) // 20  # a guest that many end would not be worth much


def test_the_corpus_is_the_same_each_time_and_all_of_it_is_damaged(bases: list[Base]) -> None:
    for kind in KINDS:
        first, again = (Case(bases[0], kind, 1).changed() for _ in range(2))
        assert first == again
        assert first != (bases[0].size, bases[0].pieces)


def test_checksums_are_those_of_btrfs() -> None:
    assert crc32c(b"123456789") == 0xE3069283
