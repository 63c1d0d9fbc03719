"""Small repositories with images in them, and devices and backends that note what is done to them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from icebrick.backend.base import Backend, BackendWrapper, FileType, Handle
from icebrick.blockdev import BlockSource, Data, Extent
from icebrick.engine.block.backup import Baseline, BlockOptions, ImageResult, backup_image
from icebrick.engine.block.changes import ChangeMap
from icebrick.engine.block.image import StoredImage, find_image
from icebrick.progress import Progress, Task
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import BlobType
from icebrick.repository.keyfile import ScryptParameters
from icebrick.repository.repository import Repository, init_repository, open_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import encode_tree
from icebrick.secret import Secret
from icebrick.testing.bytesdevice import BytesTarget
from icebrick.testing.fakehost import FakeTime, fake_host

PASSWORD = Secret("correct horse")
MOMENT = Timestamp(1_800_000_000_000_000_000)


def small_repository(backend: Backend) -> Repository:
    """A new one, with a key that is cheap to open."""
    return init_repository(backend, PASSWORD, parameters=ScryptParameters(n=2))


def same_repository(backend: Backend) -> Repository:
    """One made by `small_repository`, as another process finds it; its locks wait in no real time."""
    return open_repository(backend, PASSWORD, host=fake_host(FakeTime()))


@dataclass(frozen=True, slots=True)
class SavedImage:
    """What a backup made."""

    snapshot_id: str
    result: ImageResult


def save_backup(
    repository: Repository,
    source: BlockSource,
    *,
    parent: str | None = None,
    changes: ChangeMap | None = None,
    options: BlockOptions | None = None,
) -> SavedImage:
    """A whole backup: index loaded, packs, index and snapshot stored. `parent` is a snapshot's id."""
    earlier = None if parent is None else repository.load_snapshot(parent)
    store = repository.load_index()
    image = None if earlier is None else find_image(store, earlier.tree)
    baseline = None if image is None else Baseline(image, changes)
    with store.writer() as writer:
        result = backup_image(source, writer, MOMENT, baseline=baseline, options=options)
        tree = writer.save(BlobType.TREE, encode_tree(result.nodes))
    snapshot = Snapshot(MOMENT, tree, ("/volume",), "host", parent=parent)
    return SavedImage(repository.save_snapshot(snapshot), result)


def load_image(repository: Repository, snapshot_id: str) -> tuple[StoredImage, BlobStore]:
    """The image of a snapshot, and the store its blobs are in; AssertionError when there is none."""
    snapshot = repository.load_snapshot(snapshot_id)
    store = repository.load_index()
    image = find_image(store, snapshot.tree)
    assert image is not None, f"no image in snapshot {snapshot_id}"
    return image, store


class RecordingBackend(BackendWrapper):
    """Notes every save and remove, in the order in which they ended."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.saved: list[Handle] = []
        self.removed: list[Handle] = []
        self._lock = threading.Lock()  # guards both

    def save(self, handle: Handle, data: Data) -> None:
        super().save(handle, data)
        with self._lock:
            self.saved.append(handle)

    def remove(self, handle: Handle) -> None:
        super().remove(handle)
        with self._lock:
            self.removed.append(handle)

    def saved_of(self, file_type: FileType) -> list[str]:
        """The names of the saved files of a type."""
        with self._lock:
            return [handle.name for handle in self.saved if handle.type is file_type]


class RecordingDevice(BytesTarget):
    """Notes what is read, written and discarded."""

    def __init__(self, size: int, data: Data = b"") -> None:
        self.reads: list[Extent] = []
        self.writes: list[Extent] = []
        self.discards: list[Extent] = []
        super().__init__(size, data)
        self.forget()

    def forget(self) -> None:
        """Begin the notes anew."""
        self.reads, self.writes, self.discards = [], [], []

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.reads.append(Extent(offset, len(buffer)))
        super().read_into(offset, buffer)

    def content(self) -> bytes:
        """All of it, without a note."""
        return self.copy().content()

    def write(self, offset: int, data: Data) -> None:
        self.writes.append(Extent(offset, len(data)))
        super().write(offset, data)

    def discard(self, extent: Extent) -> None:
        self.discards.append(extent)
        super().discard(extent)


@dataclass(frozen=True, slots=True)
class FixedChanges(ChangeMap):
    """A change map that says what it was told to say."""

    extents: tuple[Extent, ...]

    def changed(self) -> Iterator[Extent]:
        return iter(self.extents)


class SumProgress(Progress, Task):
    """Adds up what is reported of the last task."""

    def __init__(self) -> None:
        self.done = self.total = 0
        self._lock = threading.Lock()  # guards done

    @contextmanager
    def task(self, name: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        self.done, self.total = 0, total or 0
        yield self

    def advance(self, amount: int) -> None:
        assert amount >= 0, f"progress went back by {-amount}"
        with self._lock:
            self.done += amount

    def set_total(self, total: int) -> None:
        self.total = total
