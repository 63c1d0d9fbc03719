"""Every kind of damage to every type of file is found, in repositories that we made and that stock restic made.

No restore ever gives other bytes as if they were right, and a repair mends what can be mended and says what cannot.
`python -m tests.faults.corruption` prints how many cases there are, and what came of them.

What cannot be found, by anyone: a snapshot, lock or key file that is simply gone.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from tests.faults.corruption.damage import DAMAGES
from tests.faults.corruption.judge import Mended, judge
from tests.faults.corruption.scene import PASSWORDS, Scene, made_by_icebrick, made_by_restic

from icebrick.backend.base import Backend, FileType
from icebrick.backend.local import LocalBackend
from icebrick.repository.check.check import check_repository
from icebrick.repository.lockfile import this_host
from icebrick.repository.repository import Repository
from icebrick.testing.repositories import copy_files, in_memory
from icebrick.testing.restic import Restic

pytestmark = pytest.mark.damages_repository("check must find it")

CASES = list(product(FileType, DAMAGES))
WHOLE_AGAIN = frozenset({FileType.INDEX, FileType.LOCK})
"""What can be made anew from all the rest, or is not needed."""


@pytest.fixture
def ours() -> Scene:
    return made_by_icebrick()


@pytest.fixture(params=["ours", "theirs"])
def scene(request: pytest.FixtureRequest) -> Scene:
    if request.param == "ours":
        return made_by_icebrick()
    return made_by_restic(request.getfixturevalue("restic"))


def test_a_whole_repository_has_no_problems(scene: Scene) -> None:
    report = check_repository(scene.repository, read_data=True)
    assert (report.problems, report.hints, report.snapshots) == ((), (), len(scene.contents))


@pytest.mark.parametrize(("file_type", "damage"), CASES, ids=lambda each: str(getattr(each, "value", each)))
def test_damage_is_found_never_restored_as_right_and_mended_or_told(
    scene: Scene, file_type: FileType, damage: str
) -> None:
    verdicts = [judge(scene, handle, damage) for handle in scene.files(file_type)]
    assert [str(verdict) for verdict in verdicts if verdict.wrong] == []
    assert all(verdict.said for verdict in verdicts if verdict.mended is Mended.NOT)
    if file_type in WHOLE_AGAIN:
        assert {verdict.mended for verdict in verdicts} == {Mended.WHOLE}


@pytest.mark.parametrize("damage", ["a byte short", "half", "a byte long", "empty", "gone"])
def test_a_pack_of_another_size_is_found_without_reading_it(scene: Scene, damage: str) -> None:
    backend, whole = in_memory(scene.backend), scene.repository
    DAMAGES[damage](backend, scene.files(FileType.PACK))
    opened = Repository(backend, whole.key, whole.config, key_id=whole.key_id, host=this_host())
    assert check_repository(opened).problems


def restic_check(restic: str, place: Path, files: Backend, damage: Callable[[Backend], None]) -> int:
    """The exit code of stock restic on a copy of `files` that was damaged."""
    backend = LocalBackend(place)
    backend.create()
    copy_files(files, backend)
    damage(backend)
    return Restic(restic, place, PASSWORDS[0]).attempt("check", "--read-data", "--no-lock").returncode


def test_restic_finds_nothing_in_what_we_made(ours: Scene, restic: str, tmp_path: Path) -> None:
    assert restic_check(restic, tmp_path, ours.backend, lambda backend: None) == 0


# Of keys and locks restic notices less: it compares no hash, and passes over what it cannot read.
# A pack that ends too early, or is another, it reads again for most of a minute.
RESTIC_CASES = [
    *product((FileType.CONFIG, FileType.SNAPSHOT, FileType.INDEX), ("a byte short", "empty", "swapped", "bit at 50%")),
    *product((FileType.PACK,), ("a byte short", "bit at 50%")),
]


@pytest.mark.parametrize(
    ("file_type", "damage"), RESTIC_CASES, ids=[f"{kind.value} {damage}" for kind, damage in RESTIC_CASES]
)
def test_restic_says_the_same(ours: Scene, restic: str, tmp_path: Path, file_type: FileType, damage: str) -> None:
    def apply(backend: Backend) -> None:
        # the longest first, which are packs of data: damaged trees, too, restic reads again and again
        DAMAGES[damage](backend, sorted(ours.files(file_type), key=lambda file: -backend.stat(file).size))

    assert restic_check(restic, tmp_path, ours.backend, apply) != 0
