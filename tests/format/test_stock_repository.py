"""A repository that stock restic makes at test time, read and changed by us; and the other way round."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from icebrick.backend.local import LocalBackend
from icebrick.errors import RepositoryError, RepositoryLockedError, WrongPasswordError
from icebrick.repository.blobstore import BlobStore
from icebrick.repository.ids import BlobType
from icebrick.repository.keyfile import ScryptParameters
from icebrick.repository.lockfile import this_host
from icebrick.repository.repository import Repository, init_repository, open_repository
from icebrick.repository.snapshot import SnapshotSummary
from icebrick.repository.timestamp import now
from icebrick.repository.tree import Node, decode_tree, encode_tree, st_mode
from icebrick.secret import Secret
from icebrick.testing.restic import Restic

PASSWORD = "geheim"
CHEAP = ScryptParameters(n=2)


def make_odd_files(root: Path) -> None:
    """Whatever a file system can hold, except what restic 0.14 itself cannot keep."""
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty").touch()
    (root / 'x<&>"\\\n\t\x7f').write_text("a")
    (root / "löß\u2028\u200b😀").write_text("b")
    (root / os.fsdecode(b"\xff\xfe")).write_text("c")
    (root / "large").write_bytes(os.urandom(3 << 20))
    (root / "suid").touch()
    (root / "suid").chmod(0o6755)
    (root / "sub").chmod(0o1777)
    os.utime(root / "empty", ns=(5, -5))
    os.symlink("<target>", root / "link")
    os.mkfifo(root / "fifo")
    os.link(root / "suid", root / "hardlink")


@pytest.fixture(scope="session")
def made_by_restic(restic: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where restic stored `files` in `repo`; not to be changed."""
    place = tmp_path_factory.mktemp("stock")
    (place / "files").mkdir()
    make_odd_files(place / "files")
    stock = Restic(restic, place / "repo", PASSWORD)
    stock.run("init")
    stock.run("backup", str(place / "files"), "--tag", "a<b", "--tag", "two", "--exclude", "*.o", "--host", "höst")
    return place


@pytest.fixture
def stock(made_by_restic: Path, restic: str, tmp_path: Path) -> Restic:
    """Restic, on a copy of that repository."""
    shutil.copytree(made_by_restic / "repo", tmp_path / "stock")
    return Restic(restic, tmp_path / "stock", PASSWORD)


@pytest.fixture
def ours(restic: str, tmp_path: Path) -> Restic:
    """Restic, on a repository that we made."""
    init_repository(LocalBackend(tmp_path / "ours"), Secret(PASSWORD), parameters=CHEAP)
    return Restic(restic, tmp_path / "ours", PASSWORD)


def opened(restic: Restic, password: str = PASSWORD) -> Repository:
    return open_repository(LocalBackend(restic.repository), Secret(password))


def ids(restic: Restic, kind: str) -> list[str]:
    return restic.run("list", kind, "--no-lock").split()


def test_we_open_what_restic_made(stock: Restic) -> None:
    repository = opened(stock)
    config = stock.json("cat", "config")
    assert repository.id == config["id"]
    assert f"{repository.config.chunker_polynomial:x}" == config["chunker_polynomial"]


def test_restic_opens_what_we_made(ours: Restic) -> None:
    repository = opened(ours)
    assert ours.json("cat", "config") == {
        "version": 2,
        "id": repository.id,
        "chunker_polynomial": f"{repository.config.chunker_polynomial:x}",
    }


def test_restic_backs_up_to_and_checks_what_we_made(ours: Restic, made_by_restic: Path) -> None:
    ours.run("backup", str(made_by_restic / "files"))
    ours.run("check", "--read-data")
    assert len(list(opened(ours).snapshots())) == 1


def test_we_read_restic_s_snapshots(stock: Restic, made_by_restic: Path) -> None:
    [snapshot] = opened(stock).snapshots()
    assert snapshot.paths == (str(made_by_restic / "files"),)
    assert snapshot.tags == ("a<b", "two")
    assert snapshot.excludes == ("*.o",)
    assert snapshot.hostname == "höst"


def test_restic_reads_our_snapshots(stock: Restic) -> None:
    repository = opened(stock)
    [first] = repository.snapshots()
    time = now()
    second = replace(
        first,
        time=time,
        parent=first.id,
        tags=("volume:ö",),
        program_version="icebrick",
        summary=SnapshotSummary(time, time, files_new=1),
    )
    second_id = repository.save_snapshot(second)
    assert stock.json("cat", "snapshot", second_id)["time"] == str(time)
    assert [found["id"] for found in stock.json("snapshots", "--tag", "volume:ö")] == [second_id]
    stock.run("check")


def test_a_snapshot_we_remove_is_gone_for_restic(stock: Restic) -> None:
    repository = opened(stock)
    repository.remove_snapshot(repository.snapshot_ids()[0])
    assert stock.json("snapshots") == []


def test_restic_s_trees_are_written_back_byte_for_byte(stock: Restic) -> None:
    trees = [
        line.split()[1] for line in stock.run("list", "blobs", "--no-lock").splitlines() if line.startswith("tree")
    ]
    assert len(trees) >= 3
    for tree_id in trees:
        stored = stock.raw_blob(tree_id)
        assert encode_tree(decode_tree(stored)) == stored


def test_every_node_is_the_file_it_was_made_from(stock: Restic, made_by_restic: Path) -> None:
    root = made_by_restic / "files"
    nodes = {node.name: node for node in read_directory(opened(stock), root)}
    assert sorted(nodes) == sorted(os.listdir(root))
    for name, node in nodes.items():
        found = (root / name).lstat()
        assert st_mode(node.mode) == found.st_mode
        assert (node.mtime.ns, node.inode, node.uid) == (found.st_mtime_ns, found.st_ino, found.st_uid)
        assert node.size == (found.st_size if stat.S_ISREG(found.st_mode) else 0)
    assert nodes["link"].linktarget == "<target>"


def read_directory(repository: Repository, path: Path) -> list[Node]:
    """The nodes that the only snapshot has of a directory."""
    [snapshot] = repository.snapshots()
    blobs = repository.load_index()
    nodes = load_tree(blobs, snapshot.tree)
    for name in path.parts[1:]:
        [subtree] = [node.subtree for node in nodes if node.name == name]
        assert subtree is not None
        nodes = load_tree(blobs, subtree)
    return nodes


def load_tree(blobs: BlobStore, tree_id: bytes) -> list[Node]:
    return decode_tree(blobs.load(BlobType.TREE, tree_id))


def test_restic_lists_our_keys_and_we_list_restic_s(ours: Restic, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("second\n")
    ours.run("key", "add", "--new-password-file", str(tmp_path / "new"))
    keys = opened(ours).keys()
    listed = ours.json("key", "list")
    assert {entry["id"] for entry in listed} == {key.id[: len(listed[0]["id"])] for key in keys}
    assert {key.hostname for key in keys} == {socket.gethostname()}
    assert opened(ours, "second").id == opened(ours).id


def test_a_key_we_add_opens_for_restic(stock: Restic) -> None:
    repository = opened(stock)
    repository.add_key(Secret("zweites"), parameters=CHEAP)
    assert replace(stock, password="zweites").json("cat", "config")["id"] == repository.id


def test_a_key_restic_removes_opens_nothing_here(ours: Restic) -> None:
    added = opened(ours).add_key(Secret("zweites"), parameters=CHEAP)
    ours.run("key", "remove", added.id)
    with pytest.raises(WrongPasswordError):
        opened(ours, "zweites")


def test_a_password_we_change_is_changed_for_restic(ours: Restic) -> None:
    opened(ours).change_password(Secret("neues"), parameters=CHEAP)
    assert ours.attempt("cat", "config").returncode != 0
    replace(ours, password="neues").run("cat", "config")


def test_restic_honours_our_exclusive_lock(ours: Restic, made_by_restic: Path) -> None:
    with opened(ours).lock(exclusive=True):
        attempt = ours.attempt("backup", str(made_by_restic / "files"))
        assert attempt.returncode != 0
        assert f"locked exclusively by PID {os.getpid()} on {socket.gethostname()}" in attempt.stderr
    ours.run("backup", str(made_by_restic / "files"))


def test_restic_shares_with_our_shared_lock_but_does_not_prune_under_it(ours: Restic, made_by_restic: Path) -> None:
    with opened(ours).lock():
        ours.run("backup", str(made_by_restic / "files"))
        attempt = ours.attempt("prune")
        assert attempt.returncode != 0
        assert "already locked by PID" in attempt.stderr


def test_restic_reads_our_lock(ours: Restic) -> None:
    host = this_host()
    with opened(ours).lock(exclusive=True) as lock:
        stored = ours.json("cat", "lock", lock.id, "--no-lock")
    assert (stored["exclusive"], stored["hostname"], stored["pid"]) == (True, host.name, host.pid)


def test_restic_unlocks_our_lock_when_its_process_is_gone(ours: Restic) -> None:
    gone = replace(this_host(), pid=dead_process())
    repository = open_repository(LocalBackend(ours.repository), Secret(PASSWORD), host=gone)
    with repository.lock(exclusive=True):
        ours.run("unlock")
        assert ids(ours, "locks") == []


def dead_process() -> int:
    """The number of a process that has ended."""
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)
    return child


def test_we_honour_restic_s_locks(stock: Restic, tmp_path: Path) -> None:
    """As long as its backup waits for input, restic holds a shared lock."""
    process = start_reading_stdin(stock)
    try:
        repository = opened(stock)
        with pytest.raises(RepositoryLockedError, match=f"process {process.pid} "), repository.lock(exclusive=True):
            pytest.fail("locked")
        with repository.lock():
            pass
    finally:
        process.communicate(b"")
    with repository.lock(exclusive=True):
        pass


def start_reading_stdin(restic: Restic) -> subprocess.Popen[bytes]:
    """A backup that holds its lock until its input ends."""
    process = subprocess.Popen(
        [restic.program, "--no-cache", "backup", "--stdin"],
        env=restic.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    locks = restic.repository / "locks"
    while not any(locks.iterdir()):
        with suppress(subprocess.TimeoutExpired):
            pytest.fail(f"restic ended before it locked: {process.wait(timeout=0.02)}")
    return process


def test_version_1_is_refused(restic: str, tmp_path: Path) -> None:
    old = Restic(restic, tmp_path / "old", PASSWORD)
    old.run("init", "--repository-version", "1")
    with pytest.raises(RepositoryError, match="old format version 1"):
        opened(old)


def test_version_1_opens_after_the_upgrade_our_hint_names(restic: str, tmp_path: Path) -> None:
    old = Restic(restic, tmp_path / "old", PASSWORD)
    old.run("init", "--repository-version", "1")
    old.run("migrate", "upgrade_repo_v2")
    assert opened(old).config.version == 2


def test_a_repository_of_restic_is_not_made_twice(stock: Restic) -> None:
    with pytest.raises(RepositoryError, match="there is a repository"):
        init_repository(LocalBackend(stock.repository), Secret(PASSWORD), parameters=CHEAP)


def test_restic_does_not_make_a_repository_over_ours(ours: Restic) -> None:
    assert ours.attempt("init").returncode != 0
