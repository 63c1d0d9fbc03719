"""A repository that nothing may change."""

from __future__ import annotations

from datetime import datetime
from typing import NoReturn

from icebrick.backend.base import BackendWrapper, Handle
from icebrick.blockdev import Data
from icebrick.errors import AccessDeniedError


class ReadOnlyBackend(BackendWrapper):
    """Refuses every change with AccessDeniedError, and asks the medium nothing for it."""

    def create(self) -> None:
        self._refuse("create it")

    def save(self, handle: Handle, data: Data) -> None:
        self._refuse(f"save {handle}")

    def remove(self, handle: Handle) -> None:
        self._refuse(f"remove {handle}")

    def sweep(self, now: datetime) -> int:
        self._refuse("sweep it")

    def discard(self) -> bool:
        self._refuse("discard it")

    def _refuse(self, what: str) -> NoReturn:
        raise AccessDeniedError(
            f"{self.location} was opened read-only: cannot {what}", hint="Open the repository for writing."
        )
