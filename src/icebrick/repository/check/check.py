"""Does the repository hold everything its snapshots need, and is all of it whole?

Without reading the packs: every other file is opened, every pack has the size that the index says, every tree is
loaded and every blob it names is in the index, with the right size. With `read_data` every pack is read as well, or
those of a subset: its hash, its header, and each blob decrypted, decompressed and hashed.

Memory: the index, some 200 bytes for each pack, the ids of all trees, and at most eight packs at once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from icebrick.backend.base import FileType
from icebrick.errors import (
    CorruptDataError,
    FileMissingError,
    NoRepositoryError,
    ShortReadError,
    SnapshotMissingError,
)
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.check.packs import PackCheck
from icebrick.repository.check.report import CheckReport, Findings
from icebrick.repository.check.subset import ALL, Subset
from icebrick.repository.check.trees import TreeCheck
from icebrick.repository.configfile import load_config
from icebrick.repository.keyfile import load_key_file
from icebrick.repository.lockfile import load_lock_file
from icebrick.repository.repository import Repository

__all__ = ["CheckReport", "check_repository"]


def check_repository(
    repository: Repository,
    *,
    read_data: bool = False,
    subset: Subset | None = None,
    progress: Progress = NO_PROGRESS,
) -> CheckReport:
    """Everything that is wrong is in the report; an error is raised only when the storage cannot be read.

    Hold a lock meanwhile, or a prune makes what was listed disappear.
    """
    findings = Findings()
    _check_small_files(repository, findings)
    snapshot_ids = repository.snapshot_ids()  # before the index, so that it knows all they need
    packs = PackCheck(repository, findings)
    packs.read_index(progress)
    packs.compare_sizes()
    trees = TreeCheck(BlobStore(repository.backend, repository.key, packs.index), findings)
    trees.visit_all(_root_trees(repository, snapshot_ids, findings), progress)
    if read_data or subset is not None:
        packs.read_packs(progress, subset or ALL)
    return CheckReport(
        findings.problems,
        findings.hints,
        snapshots=len(snapshot_ids),
        index_files=packs.index_files,
        packs=packs.packs,
        trees=trees.trees,
        bytes_read=packs.bytes_read,
        packs_read=packs.packs_read,
    )


def _check_small_files(repository: Repository, findings: Findings) -> None:
    """The config, the keys and the locks. Keys and locks may be removed while we read them."""
    backend, key = repository.backend, repository.key
    loads: list[Callable[[], object]] = [partial(load_config, backend, key)]
    loads += [partial(load_key_file, backend, info.handle.name) for info in backend.list_files(FileType.KEY)]
    loads += [partial(load_lock_file, backend, key, info) for info in backend.list_files(FileType.LOCK)]
    for load in loads:
        with suppress(FileMissingError):
            try:
                load()
            except (CorruptDataError, ShortReadError, NoRepositoryError) as error:
                findings.problem(str(error))


def _root_trees(repository: Repository, snapshot_ids: list[str], findings: Findings) -> dict[bytes, str]:
    """The trees of all snapshots, each with one snapshot that has it."""
    roots: dict[bytes, str] = {}
    for snapshot_id in snapshot_ids:
        with suppress(SnapshotMissingError):  # removed since it was listed
            try:
                roots.setdefault(repository.load_snapshot(snapshot_id).tree, f"snapshot {snapshot_id[:8]}")
            except (CorruptDataError, ShortReadError) as error:
                findings.problem(str(error))
    return roots
