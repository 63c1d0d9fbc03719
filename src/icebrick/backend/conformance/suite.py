"""All checks, and how they are run in one place that is cleared after each."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from icebrick.backend.base import Backend, BackendWrapper, FileType, Handle
from icebrick.backend.conformance import files, listings, threads
from icebrick.backend.conformance.base import Check, named
from icebrick.blockdev import Data
from icebrick.errors import BackendError
from icebrick.parallel import Workers

# Some servers write files in place, rclone's and some of restic's protocol. Nothing of a repository but its config, at
# the beginning, is ever replaced; and of what is there in part, the name does not fit yet.
_WISHED = frozenset(
    {
        listings.a_listing_while_files_are_saved_has_only_whole_ones,
        threads.a_reader_sees_the_old_or_the_new_file_never_a_mixture,
        threads.threads_that_save_the_same_name_leave_one_whole_file,
    }
)

CHECKS: tuple[Check, ...] = tuple(
    Check(run, needed=run not in _WISHED)
    for run in (
        files.an_empty_place_has_no_config,
        listings.an_empty_place_lists_nothing,
        files.a_saved_file_of_any_type_loads_again,
        files.an_empty_file_is_a_file,
        files.a_big_file_comes_back_whole,
        files.any_kind_of_buffer_can_be_saved,
        files.a_buffer_can_be_used_again_after_the_save,
        files.saving_again_replaces_the_file,
        files.the_same_name_in_two_types_is_two_files,
        files.the_size_of_a_file_is_told,
        files.a_range_inside_the_file_is_exact,
        files.a_range_past_the_end_is_an_error,
        files.a_missing_file_is_said_to_be_missing,
        files.a_removed_file_is_gone,
        files.removing_what_is_not_there_is_fine,
        files.a_removed_file_can_be_saved_again,
        files.creating_again_keeps_what_is_there,
        listings.a_listing_has_every_file_of_its_type_with_its_size,
        listings.the_config_is_listed_once_it_is_there,
        listings.a_listing_goes_on_when_its_files_are_removed_meanwhile,
        listings.a_listing_left_early_holds_nothing_up,
        listings.a_listing_while_files_are_saved_has_only_whole_ones,
        listings.sweeping_keeps_every_file,
        threads.threads_that_save_the_same_name_leave_one_whole_file,
        threads.a_reader_sees_the_old_or_the_new_file_never_a_mixture,
        threads.threads_can_do_everything_at_once,
    )
)

SAMPLE = 16 << 20
"""Bytes of each file that rates are measured with: a pack of restic's."""
_SAMPLES = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one check ended; `error` is None when all was as it must be."""

    check: Check
    seconds: float
    error: BackendError | None


@dataclass(frozen=True, slots=True)
class Rates:
    """What files of 16 MiB are saved and loaded with, over all connections, in bytes per second."""

    upload: float
    download: float


class Suite:
    """Runs checks on a created backend that nobody else uses. Whatever happens, `clear` removes what they saved."""

    def __init__(self, backend: Backend, clock: Callable[[], float] = time.monotonic) -> None:
        self._backend = _Remembering(backend)
        self._clock = clock

    def outcomes(self) -> Iterator[Outcome]:
        """Of every check, in order, as they end."""
        for check in CHECKS:
            began = self._clock()
            error: BackendError | None = None
            try:
                check.run(self._backend)
            except BackendError as failure:
                error = failure
            yield Outcome(check, self._clock() - began, error)
            self.clear()

    def rates(self) -> Rates:
        """How fast files of 16 MiB go there and come back."""
        contents = {named(content): content for content in (os.urandom(SAMPLE) for _ in range(_SAMPLES))}

        def save(handle: Handle) -> None:
            self._backend.save(handle, contents[handle])

        def load(handle: Handle) -> None:
            self._backend.load(handle)

        rates = Rates(upload=self._rate(save, list(contents)), download=self._rate(load, list(contents)))
        self.clear()
        return rates

    def clear(self) -> None:
        """Remove all that was saved; what cannot be removed stays."""
        self._backend.clear()

    def _rate(self, transfer: Callable[[Handle], None], handles: list[Handle]) -> float:
        began = self._clock()
        with Workers(transfer, threads=self._backend.connections) as workers:
            for handle in handles:
                workers.put(handle)
        return len(handles) * SAMPLE / max(self._clock() - began, 1e-6)


class _Remembering(BackendWrapper):
    """Knows what was saved, so that all of it can go whatever listings say."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._saved: set[Handle] = set()
        self._lock = threading.Lock()  # guards _saved

    def save(self, handle: Handle, data: Data) -> None:
        with self._lock:
            self._saved.add(handle)
        self.inner.save(handle, data)

    def remove(self, handle: Handle) -> None:
        self.inner.remove(handle)
        with self._lock:
            self._saved.discard(handle)

    def clear(self) -> None:
        """What was saved and not removed."""
        with self._lock:
            left = sorted(self._saved, key=str)
        with Workers(self._remove_if_possible, threads=self.connections) as workers:
            for handle in left:
                workers.put(handle)

    def _remove_if_possible(self, handle: Handle) -> None:
        with suppress(BackendError):
            self.remove(handle)


def is_empty(backend: Backend) -> bool:
    """Whether there is no file of a repository."""
    return not any(True for kind in FileType for _ in backend.list_files(kind))
