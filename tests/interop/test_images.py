"""Images through both programs: ours read by restic, restic's read by us, and both at once."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from icebrick.backend.local import LocalBackend
from icebrick.engine.block.restore import dump_image, restore_image
from icebrick.engine.block.verify import verify_image
from icebrick.parallel import Workers
from icebrick.repository.check.check import check_repository
from icebrick.repository.repository import Repository, open_repository
from icebrick.testing.bytesdevice import BytesSource, BytesTarget
from icebrick.testing.images import PASSWORD, load_image, save_backup, small_repository
from icebrick.testing.restic import Restic

pytestmark = pytest.mark.slow
MIB = 1 << 20
PATIENCE = 30.0  # seconds


def make_content() -> bytes:
    """7.3 MiB: noise, text, zeros at the start, in the middle and at the end, one block twice."""
    noise = random.Random(1).randbytes(2 * MIB)
    text = (b"all work and no play makes a dull boy\n" * 40_000)[:MIB]
    return bytes(MIB) + noise + text + noise[:MIB] + bytes(MIB + 4096) + noise[:4096] + bytes(MIB) + noise[:77_777]


CONTENT = make_content()


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    backend = LocalBackend(tmp_path / "repository")
    yield backend
    backend.close()


@pytest.fixture
def repository(backend: LocalBackend) -> Repository:
    small_repository(backend)
    return open_repository(backend, PASSWORD)


@pytest.fixture
def program(restic: str, repository: Repository, tmp_path: Path) -> Restic:
    return Restic(restic, tmp_path / "repository", PASSWORD.reveal())


def back_up(repository: Repository, content: bytes, parent: str | None = None) -> str:
    return save_backup(repository, BytesSource(content), parent=parent).snapshot_id


def dump(repository: Repository, snapshot_id: str) -> bytes:
    image, store = load_image(repository, snapshot_id)
    parts: list[bytes] = []
    dump_image(image, store, lambda data: parts.append(bytes(data)))
    return b"".join(parts)


def restic_dump(program: Restic, snapshot_id: str, path: str = "/volume.raw") -> bytes:
    return subprocess.run(
        [program.program, "--no-cache", "dump", snapshot_id, path],
        env=program.environment,
        capture_output=True,
        check=True,
    ).stdout


def restic_backup(program: Restic, content: bytes) -> str:
    """Stored by restic under the name of our images, cut by content; the snapshot's id."""
    subprocess.run(
        [program.program, "--no-cache", "backup", "--stdin", "--stdin-filename", "volume.raw"],
        input=content,
        env=program.environment,
        capture_output=True,
        check=True,
    )
    snapshots: list[dict[str, Any]] = program.json("snapshots", "--latest", "1", "--path", "/volume.raw")
    return str(snapshots[-1]["id"])


def test_restic_reads_all_that_we_stored(repository: Repository, program: Restic, tmp_path: Path) -> None:
    snapshot_id = back_up(repository, CONTENT)
    program.run("check", "--read-data")
    assert restic_dump(program, snapshot_id) == CONTENT
    program.run("restore", snapshot_id, "--target", str(tmp_path / "out"))
    assert (tmp_path / "out" / "volume.raw").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "content", [b"", b"x", bytes(3 * MIB), bytes(MIB - 1)], ids=["empty", "byte", "zeros", "short"]
)
def test_restic_reads_our_odd_images(repository: Repository, program: Restic, content: bytes) -> None:
    snapshot_id = back_up(repository, content)
    program.run("check", "--read-data")
    assert restic_dump(program, snapshot_id) == content


def test_restic_reads_every_backup_of_a_chain(repository: Repository, program: Restic) -> None:
    second = bytearray(CONTENT)
    second[MIB : MIB + 10] = second[5 * MIB : 5 * MIB + 10] = b"0123456789"
    parent = back_up(repository, CONTENT)
    child = back_up(repository, bytes(second), parent)
    program.run("check", "--read-data")
    assert restic_dump(program, parent) == CONTENT
    assert restic_dump(program, child) == second


def test_we_restore_dump_and_verify_what_restic_cut_by_content(repository: Repository, program: Restic) -> None:
    image, store = load_image(repository, snapshot_id := restic_backup(program, CONTENT))
    target = BytesTarget(len(CONTENT), random.Random(2).randbytes(len(CONTENT)))
    restore_image(image, store, target)
    assert target.content() == CONTENT
    assert dump(repository, snapshot_id) == CONTENT
    assert verify_image(image, store, target).mismatches == 0


def test_a_backup_of_restic_can_be_the_parent_of_ours(repository: Repository, program: Restic) -> None:
    parent = restic_backup(program, CONTENT)
    child = back_up(repository, CONTENT, parent)
    assert restic_dump(program, child) == CONTENT


def test_both_programs_back_up_into_one_repository_at_once(repository: Repository, program: Restic) -> None:
    contents = [random.Random(seed).randbytes(3 * MIB) for seed in range(4)]
    ours: list[str] = []
    theirs: list[str] = []

    def work(number: int) -> None:
        if number % 2:
            restic_backup(program, contents[number])
            theirs.append("done")
        else:
            ours.append(back_up(repository, contents[number]))

    with repository.lock(), Workers(work, threads=4) as workers:
        for number in range(4):
            workers.put(number)
    program.run("check", "--read-data")
    found = {bytes(dump(repository, snapshot_id)) for snapshot_id in repository.snapshot_ids()}
    assert found == set(contents)
    assert (len(ours), len(theirs)) == (2, 2)


def test_a_prune_by_restic_keeps_what_our_snapshots_need(repository: Repository, program: Restic) -> None:
    doomed = back_up(repository, random.Random(9).randbytes(3 * MIB) + CONTENT[: 2 * MIB])
    kept = back_up(repository, CONTENT)
    program.run("forget", doomed, "--prune", "--max-unused", "0")
    program.run("check", "--read-data")
    assert check_repository(repository, read_data=True).problems == ()
    assert dump(repository, kept) == CONTENT
    again = back_up(repository, CONTENT, kept)
    assert dump(repository, again) == CONTENT


def test_a_prune_by_restic_makes_us_store_again_what_it_took(repository: Repository, program: Restic) -> None:
    doomed = back_up(repository, CONTENT)
    image, _ = load_image(repository, doomed)
    program.run("forget", doomed, "--prune")
    snapshot_id = back_up(repository, CONTENT)
    assert dump(repository, snapshot_id) == CONTENT
    assert image.size == len(CONTENT)


@contextmanager
def mounted(program: Restic, where: Path) -> Iterator[Path]:
    where.mkdir()
    command = [program.program, "--no-cache", "mount", str(where)]
    process = subprocess.Popen(
        command, env=program.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        pause, waited = threading.Event(), 0.0
        while not os.path.ismount(where) and process.poll() is None and waited < PATIENCE:
            pause.wait(0.1)
            waited += 0.1
        assert os.path.ismount(where), "restic did not mount the repository"
        yield where
    finally:
        subprocess.run(["fusermount3", "-u", str(where)], check=False, capture_output=True)
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def fuse(require: Callable[[str, Any, str], None], root: None) -> None:
    require("fuse", os.access("/dev/fuse", os.R_OK | os.W_OK), "no /dev/fuse")


def test_restic_mounts_our_images(repository: Repository, program: Restic, tmp_path: Path, fuse: None) -> None:
    snapshot_id = back_up(repository, CONTENT)
    chance = random.Random(3)
    with (
        mounted(program, tmp_path / "mount") as where,
        open(where / "ids" / snapshot_id[:8] / "volume.raw", "rb") as raw,
    ):
        assert os.fstat(raw.fileno()).st_size == len(CONTENT)
        for _ in range(40):
            offset = chance.randrange(len(CONTENT))
            length = chance.choice([1, 4096, MIB + 1])
            raw.seek(offset)
            assert raw.read(length) == CONTENT[offset : offset + length]
