"""Every kind of damage to every type of file is found, in repositories that we made and that stock restic made.

What cannot be found, by anyone: a snapshot, lock or key file that is simply gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from icebrick.backend.base import Backend, FileType, Handle
from icebrick.backend.local import LocalBackend
from icebrick.backend.memory import MemoryBackend
from icebrick.errors import IcebrickError
from icebrick.repository.check import check_repository
from icebrick.repository.configfile import new_config, save_config
from icebrick.repository.crypto import new_key
from icebrick.repository.lockfile import this_host
from icebrick.repository.repository import Repository, open_repository
from icebrick.secret import Secret
from icebrick.testing.repositories import add_foreign_lock, copy_files, in_memory, make_repository
from icebrick.testing.restic import Restic

PASSWORD = "geheim"
pytestmark = pytest.mark.damages_repository("check must find it")
Damage = Callable[[Backend, list[Handle]], None]


def truncated(backend: Backend, files: list[Handle]) -> None:
    backend.save(files[0], backend.load(files[0])[:-1])


def halved(backend: Backend, files: list[Handle]) -> None:
    content = backend.load(files[0])
    backend.save(files[0], content[: len(content) // 2])


def extended(backend: Backend, files: list[Handle]) -> None:
    backend.save(files[0], backend.load(files[0]) + b"\0")


def emptied(backend: Backend, files: list[Handle]) -> None:
    backend.save(files[0], b"")


def missing(backend: Backend, files: list[Handle]) -> None:
    backend.remove(files[0])


def swapped(backend: Backend, files: list[Handle]) -> None:
    """With another file of the type, or, as there is only one config, with another repository's."""
    if files[0].type is FileType.CONFIG:
        save_config(backend, new_key(), new_config())
        return
    first, second = backend.load(files[0]), backend.load(files[1])
    backend.save(files[0], second)
    backend.save(files[1], first)


def flipped(place: float) -> Damage:
    def damage(backend: Backend, files: list[Handle]) -> None:
        content = bytearray(backend.load(files[0]))
        content[int(place * (len(content) - 1))] ^= 4
        backend.save(files[0], content)

    damage.__name__ = f"flipped at {place:.0%}"
    return damage


ALL_TYPES = tuple(FileType)
CASES = [
    *product(ALL_TYPES, (truncated, halved, extended, swapped, flipped(0), flipped(0.5), flipped(1))),
    *((file_type, emptied) for file_type in ALL_TYPES if file_type is not FileType.LOCK),
    *((file_type, missing) for file_type in (FileType.CONFIG, FileType.INDEX, FileType.PACK)),
]
NAMES = [f"{file_type.value} {damage.__name__}" for file_type, damage in CASES]


@pytest.fixture(scope="module")
def ours() -> Repository:
    """Made by us; not to be changed."""
    repository = make_repository(MemoryBackend(), Secret(PASSWORD))
    for _ in range(2):
        add_foreign_lock(repository)
    return repository


@pytest.fixture(scope="module")
def theirs(restic: str, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Made by restic; not to be changed."""
    place = tmp_path_factory.mktemp("theirs")
    stock = Restic(restic, place / "repository", PASSWORD)
    stock.run("init")
    for name in ("one", "two"):
        (place / name).write_bytes(os.urandom(20_000))
        stock.run("backup", str(place / name))
    (place / "password").write_text("another")
    stock.run("key", "add", "--new-password-file", str(place / "password"))
    repository = open_repository(LocalBackend(stock.repository), Secret(PASSWORD))
    for _ in range(2):
        add_foreign_lock(repository)
    return repository


@pytest.fixture(params=["ours", "theirs"])
def whole(request: pytest.FixtureRequest) -> Repository:
    repository = request.getfixturevalue(request.param)
    assert isinstance(repository, Repository)
    return repository


def opened_before(whole: Repository, backend: Backend) -> Repository:
    """As if it had been opened before the damage was done, so that check itself has to find it."""
    return Repository(backend, whole.key, whole.config, key_id=whole.key_id, host=this_host())


def files_of(backend: Backend, file_type: FileType) -> list[Handle]:
    if file_type is FileType.CONFIG:
        return [Handle(FileType.CONFIG)]
    files = sorted((info.handle for info in backend.list_files(file_type)), key=str)
    assert len(files) >= 2
    return files


def test_a_whole_repository_has_no_problems(whole: Repository) -> None:
    report = check_repository(whole, read_data=True)
    assert (report.problems, report.hints, report.snapshots) == ((), (), 2)


@pytest.mark.parametrize(("file_type", "damage"), CASES, ids=NAMES)
def test_damage_is_found(whole: Repository, file_type: FileType, damage: Damage) -> None:
    backend = in_memory(whole.backend)
    for number, _ in enumerate(files_of(backend, file_type)):
        damaged = in_memory(backend)
        files = files_of(damaged, file_type)
        damage(damaged, files[number:] + files[:number])
        assert check_repository(opened_before(whole, damaged), read_data=True).problems


@pytest.mark.parametrize("damage", [truncated, halved, extended, emptied, missing])
def test_a_pack_of_another_size_is_found_without_reading_it(whole: Repository, damage: Damage) -> None:
    backend = in_memory(whole.backend)
    damage(backend, files_of(backend, FileType.PACK))
    assert check_repository(opened_before(whole, backend)).problems


@pytest.mark.parametrize(("file_type", "damage"), CASES, ids=NAMES)
def test_opening_a_damaged_repository_ends_with_our_errors_or_not_at_all(
    ours: Repository, file_type: FileType, damage: Damage
) -> None:
    backend = in_memory(ours.backend)
    damage(backend, files_of(backend, file_type))
    try:
        repository = open_repository(backend, Secret(PASSWORD))
        list(repository.snapshots())
        repository.load_index()
    except IcebrickError as error:
        assert file_type in {FileType.CONFIG, FileType.KEY, FileType.INDEX}
        assert str(error) == str(error).strip(".")


def restic_check(restic: str, place: Path, files: Backend, damage: Callable[[Backend], None]) -> int:
    """The exit code of stock restic on a copy of `files` that was damaged."""
    backend = LocalBackend(place)
    backend.create()
    copy_files(files, backend)
    damage(backend)
    return Restic(restic, place, PASSWORD).attempt("check", "--read-data", "--no-lock").returncode


def test_restic_finds_nothing_in_what_we_made(ours: Repository, restic: str, tmp_path: Path) -> None:
    assert restic_check(restic, tmp_path, ours.backend, lambda backend: None) == 0


# Of keys and locks restic notices less: it compares no hash, and passes over what it cannot read.
# A pack that ends too early it reads again for most of a minute.
RESTIC_CASES = [
    *product((FileType.CONFIG, FileType.SNAPSHOT, FileType.INDEX), (truncated, emptied, swapped, flipped(0.5))),
    *product((FileType.PACK,), (truncated, swapped, flipped(0.5))),
]


@pytest.mark.parametrize(
    ("file_type", "damage"), RESTIC_CASES, ids=[f"{kind.value} {damage.__name__}" for kind, damage in RESTIC_CASES]
)
def test_restic_says_the_same(
    ours: Repository, restic: str, tmp_path: Path, file_type: FileType, damage: Damage
) -> None:
    def apply(backend: Backend) -> None:
        # the longest first, which are packs of data: damaged trees, too, restic reads again and again
        damage(backend, sorted(files_of(backend, file_type), key=lambda file: -backend.stat(file).size))

    assert restic_check(restic, tmp_path, ours.backend, apply) != 0
