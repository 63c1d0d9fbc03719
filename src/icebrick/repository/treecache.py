"""Trees that lie near each other, as those of one snapshot do, loaded with few reads."""

from __future__ import annotations

from collections import OrderedDict

from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import BlobType

WINDOW = 1 << 20
WINDOWS = 4


class TreeCache:
    """Keeps the last few windows of packs that trees were loaded from, sealed. For one thread."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._windows: OrderedDict[tuple[bytes, int], memoryview] = OrderedDict()

    def load(self, tree: bytes) -> bytes:
        """The blob, proven to have this id; CorruptDataError when it is damaged or missing."""
        found = self._store.find(BlobType.TREE, tree)
        if found is None:
            return self._store.load(BlobType.TREE, tree)  # says so
        pack, blob = found
        number, start = divmod(blob.offset, WINDOW)
        window = self._window(pack, number)
        if start + blob.length > len(window):
            return self._store.load(BlobType.TREE, tree)  # it reaches into the next window
        return self._store.open_blob(pack, blob, window[start : start + blob.length])

    def _window(self, pack: bytes, number: int) -> memoryview:
        window = self._windows.get((pack, number))
        if window is None:
            window = memoryview(self._store.load_part(pack, number * WINDOW, WINDOW))
            self._windows[pack, number] = window
            if len(self._windows) > WINDOWS:
                self._windows.popitem(last=False)
        self._windows.move_to_end((pack, number))
        return window
