"""Many threads at once."""

from __future__ import annotations

import threading

from icebrick.backend.base import Backend, FileType
from icebrick.backend.conformance.base import CONFIG, listed, named, noise, require, require_same
from icebrick.parallel import Workers

_SIZE = 200_000


def threads_that_save_the_same_name_leave_one_whole_file(backend: Backend) -> None:
    """Threads that save the same name leave one whole file."""
    versions = [noise(_SIZE, seed) for seed in range(8)]
    with Workers[bytes](lambda content: backend.save(CONFIG, content), threads=4) as workers:
        for content in versions * 2:
            workers.put(content)
    require(backend.load(CONFIG) in versions, "the file is none of those that were saved")


def a_reader_sees_the_old_or_the_new_file_never_a_mixture(backend: Backend) -> None:
    """A reader sees the old or the new file, never a mixture, nor none."""
    versions = {noise(_SIZE, seed) for seed in range(4)}
    backend.save(CONFIG, min(versions))
    with Workers[bytes](lambda content: backend.save(CONFIG, content), threads=2) as workers:
        for content in [*versions] * 4:
            workers.put(content)
            require(backend.load(CONFIG) in versions, "the file read is none of those that were saved")


def threads_can_do_everything_at_once(backend: Backend) -> None:
    """Threads can save, read and remove files all at once."""
    together = threading.Barrier(4)

    def live(seed: int) -> None:
        together.wait()
        for number in range(10):
            content = noise(1000, seed * 100 + number)
            backend.save(named(content), content)
            require_same("a range", backend.load(named(content), offset=10, length=20), content[10:30])
            require_same("a size", backend.stat(named(content)).size, 1000)
            backend.remove(named(content))

    with Workers(live, threads=4) as workers:
        for seed in range(4):
            workers.put(seed)
    require_same("what is left", listed(backend, FileType.PACK), set())
