"""One DEBUG line for each call that reaches a backend."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from icebrick.backend.base import Backend, BackendWrapper, FileInfo, FileType, Handle
from icebrick.blockdev import Data
from icebrick.errors import BackendError

log = logging.getLogger(__name__)


class LogBackend(BackendWrapper):
    """Logs operation, file, size in bytes (files for a listing or sweep), milliseconds, and the error if one came."""

    def __init__(self, inner: Backend, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(inner)
        self._clock = clock

    def load(self, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        with self._logged("load", str(handle)) as call:
            content = self.inner.load(handle, offset=offset, length=length)
            call.result = f"offset={offset} bytes={len(content)}"
        return content

    def stat(self, handle: Handle) -> FileInfo:
        with self._logged("stat", str(handle)) as call:
            info = self.inner.stat(handle)
            call.result = f"bytes={info.size}"
        return info

    def list_files(self, file_type: FileType) -> Iterator[FileInfo]:
        """One line when the listing ends; its time includes what the reader did between the files."""
        count = 0
        with self._logged("list", file_type.value) as call:
            for info in self.inner.list_files(file_type):
                count += 1
                yield info
            call.result = f"files={count}"

    def create(self) -> None:
        with self._logged("create", self.location):
            self.inner.create()

    def save(self, handle: Handle, data: Data) -> None:
        with self._logged("save", str(handle)) as call:
            self.inner.save(handle, data)
            call.result = f"bytes={memoryview(data).nbytes}"

    def remove(self, handle: Handle) -> None:
        with self._logged("remove", str(handle)):
            self.inner.remove(handle)

    def sweep(self, now: datetime) -> int:
        with self._logged("sweep", self.location) as call:
            count = self.inner.sweep(now)
            call.result = f"files={count}"
        return count

    @contextmanager
    def _logged(self, operation: str, name: str) -> Iterator[_Call]:
        call = _Call()
        began = self._clock()
        try:
            yield call
        except BackendError as error:
            call.result = f"error={type(error).__name__} message={error}"
            raise
        finally:
            log.debug("op=%s file=%s ms=%.1f %s", operation, name, (self._clock() - began) * 1000, call.result)


class _Call:
    """How a call ended, as fields of its line."""

    def __init__(self) -> None:
        self.result = ""
