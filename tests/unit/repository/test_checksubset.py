"""Which packs are read."""

from __future__ import annotations

import random

import pytest

from icebrick.backend.base import FileType
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import UsageError
from icebrick.repository.check.check import check_repository
from icebrick.repository.check.subset import ALL, Subset, parse_subset
from icebrick.repository.ids import digest
from icebrick.secret import Secret
from icebrick.testing.repositories import make_repository

PACKS = {digest(bytes([number])): 1000 + number for number in range(200)}


def chosen(text: str, seed: int = 1) -> list[bytes]:
    return parse_subset(text).choose(PACKS, random.Random(seed))


@pytest.mark.parametrize("groups", [1, 2, 7, 256])
def test_the_groups_are_all_packs_each_once(groups: int) -> None:
    parts = [chosen(f"{group}/{groups}", seed=group) for group in range(1, groups + 1)]
    assert sorted(pack for part in parts for pack in part) == sorted(PACKS)


def test_a_group_is_what_restic_takes_for_it() -> None:
    assert all(pack[0] % 5 == 2 for pack in chosen("3/5"))


def test_all_is_all() -> None:
    assert ALL.choose(PACKS, random.Random(1)) == sorted(PACKS)


@pytest.mark.parametrize(("text", "count"), [("100%", 200), ("50%", 100), ("2.5%", 5), ("0.001%", 1)])
def test_a_share_is_so_many_packs_by_chance(text: str, count: int) -> None:
    first, second = chosen(text, seed=1), chosen(text, seed=2)
    assert len(set(first)) == len(first) == len(second) == count
    assert first != second or count in (1, 200)


@pytest.mark.parametrize("text", ["10K", "100k", "1G"])
def test_a_size_is_nearly_filled_by_chance(text: str) -> None:
    most = int(text[:-1]) << {"K": 10, "G": 30}[text[-1].upper()]
    total = sum(PACKS[pack] for pack in chosen(text))
    assert min(most, sum(PACKS.values())) - max(PACKS.values()) < total <= most


def test_at_least_one_pack_is_read_however_small_the_size() -> None:
    assert len(Subset(size=1).choose(PACKS, random.Random(1))) == 1


@pytest.mark.parametrize("text", ["100%", "1K", "1/1"])
def test_of_no_packs_none_are_chosen(text: str) -> None:
    assert parse_subset(text).choose({}, random.Random(1)) == []


@pytest.mark.parametrize(
    "text", ["", "0/5", "6/5", "1/257", "1/", "x/y", "0%", "101%", "%", "-1%", "0K", "5", "5B", "1/2/3"]
)
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no subset of the data"):
        parse_subset(text)


def test_only_the_subset_is_read() -> None:
    repository = make_repository(MemoryBackend(), Secret("geheim"))
    sizes = {bytes.fromhex(info.handle.name): info.size for info in repository.backend.list_files(FileType.PACK)}
    report = check_repository(repository, subset=Subset(size=1))
    assert report.packs_read == 1
    assert report.bytes_read in sizes.values()
