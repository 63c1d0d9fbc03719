"""One file is damaged: does a check find it, does a restore ever give wrong bytes, and what does a repair mend?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from tests.faults.corruption.damage import DAMAGES
from tests.faults.corruption.scene import PASSWORDS, Content, Scene, restored

from icebrick.backend.base import Backend, FileType, Handle
from icebrick.errors import IcebrickError, RepositoryError
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.check.check import check_repository
from icebrick.repository.lockfile import this_host
from icebrick.repository.repair.index import execute_repair_index, plan_repair_index
from icebrick.repository.repair.packs import execute_repair_packs, plan_repair_packs
from icebrick.repository.repair.snapshots import SUFFIX, execute_repair_snapshots, plan_repair_snapshots
from icebrick.repository.repository import Repository, open_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.secret import Secret
from icebrick.testing.repositories import in_memory

UNSEEN = frozenset(
    {(FileType.KEY, "gone"), (FileType.LOCK, "gone"), (FileType.LOCK, "empty"), (FileType.SNAPSHOT, "gone")}
)
"""What nobody can find: nothing says that these have ever been there; empty locks are what broken uploads leave."""


class Mended(Enum):
    """What is left after a repair."""

    WHOLE = "whole again"
    PART = "in part"
    NOT = "not at all"


@dataclass(slots=True)
class Verdict:
    """Of one case. `wrong` is empty where all is as promised."""

    case: str
    file_type: FileType
    damage: str
    found: bool = False
    right: int = 0
    refused: int = 0
    mended: Mended = Mended.NOT
    said: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.case}: {'; '.join(self.wrong) or 'as promised'}"


def judge(scene: Scene, handle: Handle, damage: str) -> Verdict:
    """Do it, check, restore, repair, check and restore again."""
    verdict = Verdict(f"{scene.name}: {handle} {damage}", handle.type, damage)
    backend = in_memory(scene.backend)
    files = scene.files(handle.type)
    number = files.index(handle)
    DAMAGES[damage](backend, files[number:] + files[:number])
    _check(scene, backend, verdict)
    opened = _open(backend, verdict)
    if opened is None:
        verdict.refused = len(scene.contents)
        return verdict
    for snapshot_id, content in scene.contents.items():
        _restore(opened, snapshot_id, content, verdict)
    _repair(scene, opened, verdict)
    return verdict


def _check(scene: Scene, backend: Backend, verdict: Verdict) -> None:
    """Of a repository that was opened before the damage was done, so that check itself has to find it."""
    whole = scene.repository
    opened = Repository(backend, whole.key, whole.config, key_id=whole.key_id, host=this_host())
    verdict.found = bool(check_repository(opened, read_data=True).problems)
    if not verdict.found and (verdict.file_type, verdict.damage) not in UNSEEN:
        verdict.wrong.append("check finds nothing")


def _open(backend: Backend, verdict: Verdict) -> Repository | None:
    """With any password; why not, is said."""
    for password in PASSWORDS:
        try:
            return open_repository(backend, Secret(password))
        except RepositoryError as error:
            verdict.said.append(str(error))
    return None


def _restore(repository: Repository, snapshot_id: str, content: Content, verdict: Verdict) -> None:
    try:
        found = restored(repository.load_snapshot(snapshot_id), repository.load_index())
    except IcebrickError:
        verdict.refused += 1
        return
    verdict.right += 1
    if found != content:
        verdict.wrong.append(f"snapshot {snapshot_id[:8]} is restored with another content")


def _repair(scene: Scene, repository: Repository, verdict: Verdict) -> None:
    _remove_aside(repository, verdict)
    index = execute_repair_index(repository, plan_repair_index(repository))
    packs = execute_repair_packs(repository, plan_repair_packs(repository))
    repairs = execute_repair_snapshots(repository, plan_repair_snapshots(repository), forget=True)
    verdict.said += index.lost
    if packs.blobs_lost:
        verdict.said.append(f"{packs.blobs_lost} blobs are lost")
    verdict.said += (problem for repair in repairs for problem in repair.problems)
    told = {repair.snapshot_id for repair in repairs}
    wrong = [f"after the repair {problem}" for problem in check_repository(repository, read_data=True).problems]
    lost = list(_lost(scene, repository, told, wrong))
    if verdict.file_type is FileType.SNAPSHOT and verdict.damage == "gone":
        wrong = [text for text in wrong if not text.endswith(_UNTOLD)]
    verdict.wrong += wrong
    verdict.mended = Mended.PART if lost else Mended.WHOLE


_UNTOLD = "is lost, and the repair did not say so"


def _remove_aside(repository: Repository, verdict: Verdict) -> None:
    """What no repair touches, as the operator does with `unlock --remove-all` and `key remove`."""
    if verdict.file_type is FileType.LOCK:
        repository.remove_all_locks()
    if verdict.file_type is FileType.KEY:
        whole = {found.id for found in list(repository.keys())}
        for info in list(repository.backend.list_files(FileType.KEY)):
            if info.handle.name not in whole:
                repository.remove_key(info.handle.name)


def _lost(scene: Scene, repository: Repository, told: set[str], wrong: list[str]) -> Iterator[str]:
    """Snapshots that are no longer what they were; what is wrong about that, or with those that are left, is noted."""
    store = repository.load_index()
    there = {snapshot.id: snapshot for snapshot in repository.snapshots()}
    successors = {snapshot.original: snapshot for snapshot in there.values() if snapshot.original}
    for snapshot_id, content in scene.contents.items():
        snapshot = there.get(snapshot_id)
        if snapshot is not None:
            if _now(snapshot, store, wrong) != content:
                wrong.append(f"after the repair, snapshot {snapshot_id[:8]} has another content")
            continue
        yield snapshot_id
        if snapshot_id not in told:
            wrong.append(f"snapshot {snapshot_id[:8]} {_UNTOLD}")
        if snapshot_id in successors:
            wrong += _forged(content, _now(successors[snapshot_id], store, wrong))


def _now(snapshot: Snapshot, store: BlobStore, wrong: list[str]) -> Content:
    try:
        return restored(snapshot, store)
    except IcebrickError as error:
        wrong.append(f"after the repair, snapshot {str(snapshot.id)[:8]} cannot be restored: {error}")
        return {}


def _forged(content: Content, rest: Content) -> Iterator[str]:
    """Files that a successor has as if they were whole, and are not."""
    for path, data in rest.items():
        if path and not path.endswith(SUFFIX) and content.get(path) != data:
            yield f"after the repair, {path} has another content and its old name"


def cases(scene: Scene) -> Iterator[tuple[Handle, str]]:
    """Every file with every damage."""
    for file_type in FileType:
        for handle in scene.files(file_type):
            for damage in DAMAGES:
                yield handle, damage
