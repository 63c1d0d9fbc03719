"""Makes an index that says what is there: from the index files that can be read, and the headers of other packs.

A pack that an index file describes rightly (it is there, as long as it must be, and no file says otherwise) stays in
the index unread. Of others the header decides, which is sealed. Of packs whose header is lost too, the blobs that an
old index file still knows are stored anew, if they are whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from icebrick.backend.base import FileType, Handle
from icebrick.errors import CorruptDataError
from icebrick.parallel import Workers
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.repository.blob import PackedBlob
from icebrick.repository.check.packs import IndexedPack, describe_pack
from icebrick.repository.check.report import DAMAGE, Findings
from icebrick.repository.index.file import decode_index
from icebrick.repository.index.rewrite import EntriesOfPack, remove_files, save_index_files
from icebrick.repository.packheader import load_header
from icebrick.repository.repair.salvage import salvage
from icebrick.repository.repository import Repository
from icebrick.repository.unpacked import load_unpacked

_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class IndexRepairPlan:
    """What is wrong, and what must be read to mend it."""

    problems: tuple[str, ...]
    unindexed: tuple[bytes, ...] = field(repr=False)
    """Packs that no index file names: what a killed run left, or all that is left of an index file."""
    replace: tuple[Handle, ...]
    """Index files that cannot stay; what is right in them goes into new ones."""
    origin: Mapping[bytes, int] = field(repr=False)
    """For each pack that is described rightly, which of `replace` says so; packs of files that stay are not here."""
    read: Mapping[bytes, int] = field(repr=False)
    """Packs of which the header must be read, and their sizes in bytes."""


@dataclass(frozen=True, slots=True)
class IndexRepair:
    """What was done. `lost` says what could not be mended."""

    index_files_removed: int
    index_files_written: int
    packs_indexed: int
    blobs_salvaged: int
    lost: tuple[str, ...]


def plan_repair_index(
    repository: Repository, *, read_all_packs: bool = False, progress: Progress = NO_PROGRESS
) -> IndexRepairPlan:
    """Reads only. With `read_all_packs` no index file is believed."""
    stored = {bytes.fromhex(info.handle.name): info.size for info in repository.backend.list_files(FileType.PACK)}
    survey = _Survey(stored, believe=not read_all_packs)
    handles = [info.handle for info in repository.backend.list_files(FileType.INDEX)]
    with progress.task("read index", total=len(handles), unit="files") as task:
        for handle in handles:
            survey.add(handle, _packs_of(repository, handle, survey.findings))
            task.advance(1)
    return survey.plan()


def _packs_of(repository: Repository, handle: Handle, findings: Findings) -> list[EntriesOfPack] | None:
    """What an index file says; None when it cannot be read."""
    try:
        return list(decode_index(load_unpacked(repository.backend, repository.key, handle)))
    except DAMAGE as error:
        findings.problem(f"index file {handle.name} cannot be read: {error}")
        return None


class _Survey:
    """Index files against each other and against what is stored."""

    def __init__(self, stored: Mapping[bytes, int], *, believe: bool) -> None:
        self.findings = Findings()
        self._stored = stored
        self._believe = believe
        self._files: list[Handle] = []
        self._bad_files: set[int] = set()
        self._described: dict[bytes, tuple[int, IndexedPack]] = {}
        self._doubtful: set[bytes] = set()

    def add(self, handle: Handle, packs: Sequence[EntriesOfPack] | None) -> None:
        number = len(self._files)
        self._files.append(handle)
        good = [self._is_right(number, *pack) for pack in packs or ()]
        if packs is None or not all(good) or not self._believe:
            self._bad_files.add(number)

    def _is_right(self, number: int, pack_id: bytes, blobs: Sequence[PackedBlob]) -> bool:
        size = self._stored.get(pack_id)
        if size is None:
            self.findings.problem(f"pack {pack_id.hex()} is in the index, but not there")
            return False
        try:
            found = describe_pack(blobs)
        except CorruptDataError as error:
            self.findings.problem(f"pack {pack_id.hex()} is described wrongly: {error}")
            self._doubtful.add(pack_id)
            return False
        if found.size != size:
            self.findings.problem(f"pack {pack_id.hex()} has {size} bytes, by the index it must have {found.size}")
            self._doubtful.add(pack_id)
            return False
        first, known = self._described.setdefault(pack_id, (number, found))
        if known != found:
            self.findings.problem(f"pack {pack_id.hex()} is described in two ways")
            self._doubtful.add(pack_id)
            self._bad_files.add(first)
        return first == number

    def plan(self) -> IndexRepairPlan:
        believed = {
            pack_id: number
            for pack_id, (number, _) in self._described.items()
            if self._believe and pack_id not in self._doubtful
        }
        # a file that was right in itself may name a pack of which a later one says otherwise
        self._bad_files.update(number for pack_id, (number, _) in self._described.items() if pack_id in self._doubtful)
        bad = sorted(self._bad_files)
        place = {number: position for position, number in enumerate(bad)}
        return IndexRepairPlan(
            self.findings.problems,
            tuple(sorted(self._stored.keys() - self._described.keys() - self._doubtful)),
            tuple(self._files[number] for number in bad),
            {pack_id: place[number] for pack_id, number in believed.items() if number in place},
            {pack_id: size for pack_id, size in self._stored.items() if pack_id not in believed},
        )


def execute_repair_index(
    repository: Repository, plan: IndexRepairPlan, progress: Progress = NO_PROGRESS
) -> IndexRepair:
    """Under the exclusive lock that the plan was made under. Old files go when all new ones are stored."""
    backend, key = repository.backend, repository.key
    headers = _Headers(repository, plan.read, progress)
    written = save_index_files(backend, key, itertools.chain(_believed(repository, plan), headers.read()))
    salvaged = salvage(repository, headers.failed, _remembered(repository, plan, headers.failed))
    remove_files(backend, plan.replace, "remove old index files", progress)
    lost = [
        f"pack {pack_id.hex()} cannot be read: {why}; {salvaged.of(pack_id)}" for pack_id, why in headers.failed.items()
    ]
    return IndexRepair(len(plan.replace), written, headers.count, salvaged.blobs, tuple(lost))


def _believed(repository: Repository, plan: IndexRepairPlan) -> Iterator[EntriesOfPack]:
    needed = set(plan.origin.values())
    for number, handle in enumerate(plan.replace):
        if number in needed:
            for pack_id, blobs in _packs_of(repository, handle, Findings()) or ():
                if plan.origin.get(pack_id) == number:
                    yield pack_id, blobs


def _remembered(
    repository: Repository, plan: IndexRepairPlan, wanted: Mapping[bytes, str]
) -> dict[bytes, list[EntriesOfPack]]:
    """What old index files say of these packs, each in its own way."""
    found: dict[bytes, list[EntriesOfPack]] = {pack_id: [] for pack_id in wanted}
    for handle in plan.replace if wanted else ():
        for pack in _packs_of(repository, handle, Findings()) or ():
            if pack[0] in found:
                found[pack[0]].append(pack)
    return found


class _Headers:
    """Reads the headers of packs, several at a time."""

    def __init__(self, repository: Repository, packs: Mapping[bytes, int], progress: Progress) -> None:
        self._repository = repository
        self._packs = packs
        self._progress = progress
        self.count = 0
        self.failed: dict[bytes, str] = {}

    def read(self) -> Iterator[EntriesOfPack]:
        """The blobs of each that can be read; the others are in `failed` then."""
        if not self._packs:
            return
        ids = iter(sorted(self._packs))
        with self._progress.task("read pack headers", total=len(self._packs), unit="packs") as task:
            while batch := list(itertools.islice(ids, _AT_ONCE)):
                found: dict[bytes, EntriesOfPack] = {}

                def load(pack_id: bytes, found: dict[bytes, EntriesOfPack] = found) -> None:
                    try:
                        found[pack_id] = pack_id, load_header(self._repository, pack_id, self._packs[pack_id])
                    except DAMAGE as error:
                        self.failed[pack_id] = str(error)
                    task.advance(1)

                with Workers(load, threads=self._repository.backend.connections, name="headers") as workers:
                    for pack_id in batch:
                        workers.put(pack_id)
                self.count += len(found)
                yield from found.values()
