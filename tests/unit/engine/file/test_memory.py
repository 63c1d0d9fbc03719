"""Memory follows the largest folders on the way down, not the number of files."""

from __future__ import annotations

import tracemalloc

from icebrick.backend.memory import MemoryBackend
from icebrick.engine.file.backup import backup_files
from icebrick.engine.file.parent import FilesBaseline
from icebrick.parallel import Slots
from icebrick.testing.faketree import FakeTree, directory, file
from icebrick.testing.images import small_repository

KIB = 1 << 10
FILES = 30


def peak_of_an_unchanged_backup(directories: int) -> int:
    """In bytes, without what the tree and the repository themselves take."""
    tree = FakeTree(*(directory(f"{number}", [file(f"{n}") for n in range(FILES)]) for number in range(directories)))
    store = small_repository(MemoryBackend()).load_index()
    with store.writer() as writer:
        first = backup_files(tree, writer, slots=Slots(2))
    assert first.node.subtree is not None
    with store.writer() as writer:
        tracemalloc.start()
        try:
            second = backup_files(tree, writer, baseline=FilesBaseline(store, first.node.subtree), slots=Slots(2))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert second.stats.files_unmodified == directories * FILES
    return peak


def test_ten_times_as_many_files_take_hardly_more_memory() -> None:
    few, many = peak_of_an_unchanged_backup(80), peak_of_an_unchanged_backup(800)
    # of 21,600 files more, and the 720 entries of their folders in the root; a kilobyte each would be 21 MiB
    assert many < few + 2 * 1024 * KIB
