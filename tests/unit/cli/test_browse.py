"""What is in snapshots, as a user looks at it."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.cli.conftest import PASSWORD, Icebrick

from icebrick.backend.local import LocalBackend
from icebrick.repository.ids import BlobType
from icebrick.repository.repository import Repository, open_repository
from icebrick.repository.snapshot import Snapshot
from icebrick.repository.timestamp import Timestamp
from icebrick.repository.tree import MODE_DEVICE, MODE_DIR, Node, encode_tree
from icebrick.secret import Secret
from icebrick.testing.repositories import Tree, add_tree

VOLUME = ("/cinder/v1",)
HOSTILE = "\x1b[2J\rforged\nname \udcff \u202e"
NOISE = bytes(range(256)) * 100  # several blobs
FIRST: Tree = {
    "files": {
        "etc": {"hosts": b"127.0.0.1", "nginx": {"nginx.conf": b"worker", "sites": {"web": b"server"}}},
        "home": {"anna": {"empty": b"", "notes": NOISE}},
        "link": "etc/hosts",
    },
    "volume.json": b"{}",
}
SECOND: Tree = {"files": {"etc": {"hosts": b"::1"}, HOSTILE: {HOSTILE: b"boo"}}, "volume.json": b"{}"}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, empty_repository: Path) -> tuple[Path, tuple[str, str]]:
    """A repository that no test changes, and the ids of a volume's two snapshots; one of something else is between."""
    path = tmp_path_factory.mktemp("browsed") / "repository"
    shutil.copytree(empty_repository, path)
    with closing(LocalBackend(path)) as backend:
        repository = open_repository(backend, Secret(PASSWORD))
        first = add_tree(repository, FIRST, 1_700_000_000, paths=VOLUME, tags=("mode:files", "name:web"))
        add_tree(repository, {"home": {"nginx.conf": b"mine"}}, 1_700_100_000, paths=("/home",))
        return path, (first, add_tree(repository, SECOND, 1_700_200_000, paths=VOLUME))


@pytest.fixture
def ids(monkeypatch: pytest.MonkeyPatch, stored: tuple[Path, tuple[str, str]]) -> tuple[str, str]:
    """Of the volume's snapshots; commands use their repository."""
    path, ids = stored
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    monkeypatch.setenv("RESTIC_REPOSITORY", str(path))
    return ids


@pytest.fixture
def repository(location: Path) -> Iterator[Repository]:
    """A new one."""
    with closing(LocalBackend(location)) as backend:
        yield open_repository(backend, Secret(PASSWORD))


def directory(name: str, tree: bytes) -> Node:
    return Node(name, type="dir", mode=MODE_DIR | 0o755, subtree=tree)


def save(repository: Repository, tree: bytes) -> str:
    return repository.save_snapshot(Snapshot(Timestamp(0), tree, ("/files",), "host"))


def lines(text: str) -> list[str]:
    return text.splitlines()


def test_ls_lists_a_snapshots_root(icebrick: Icebrick, ids: tuple[str, str]) -> None:
    ran = icebrick("ls", ids[0])
    assert (ran.code, lines(ran.out)) == (0, ["/files", "/volume.json"])


@pytest.mark.parametrize("path", ["/files/etc", "files/etc/", "//files//etc"])
def test_ls_lists_a_directory(icebrick: Icebrick, ids: tuple[str, str], path: str) -> None:
    assert lines(icebrick("ls", ids[0][:10], path).out) == ["/files/etc/hosts", "/files/etc/nginx"]


def test_ls_lists_all_below(icebrick: Icebrick, ids: tuple[str, str]) -> None:
    assert lines(icebrick("ls", ids[0], "/files/etc", "--recursive").out) == [
        "/files/etc/hosts",
        "/files/etc/nginx",
        "/files/etc/nginx/nginx.conf",
        "/files/etc/nginx/sites",
        "/files/etc/nginx/sites/web",
    ]


def test_ls_of_a_file_is_the_file(icebrick: Icebrick, ids: tuple[str, str]) -> None:
    assert lines(icebrick("ls", ids[0], "/volume.json").out) == ["/volume.json"]


def test_ls_tells_kind_permissions_owner_size_and_target(icebrick: Icebrick, ids: tuple[str, str]) -> None:
    directory, _, link = lines(icebrick("ls", "-l", ids[0], "files").out)
    assert directory.split()[:4] == ["drwxr-xr-x", "0", "0", "0"]
    assert link.startswith("lrwxrwxrwx ")
    assert link.endswith(" /files/link -> etc/hosts")
    assert icebrick("ls", "-l", ids[0], "files/home/anna/notes").out.split()[3] == str(len(NOISE))


@pytest.mark.parametrize("command", [("ls", "latest", "--recursive", "-l"), ("find", "*forged*")])
def test_a_hostile_name_stays_one_harmless_line(
    icebrick: Icebrick, ids: tuple[str, str], command: tuple[str, ...]
) -> None:
    ran = icebrick(*command)
    name = "\\x1b[2J\\rforged\\nname \\xff \\u202e"
    assert ran.code == 0
    assert ran.out.replace("\n", "").isprintable()
    assert any(line.endswith(f"/files/{name}/{name}") for line in lines(ran.out))


def test_json_has_the_names_as_they_are(icebrick: Icebrick, ids: tuple[str, str]) -> None:
    head, *nodes = icebrick("ls", ids[1], "--recursive", "--json").json
    assert (head["struct_type"], head["id"]) == ("snapshot", ids[1])
    by_path = {node["path"]: node for node in nodes}
    assert set(by_path) == {
        "/files",
        "/files/etc",
        "/files/etc/hosts",
        f"/files/{HOSTILE}",
        f"/files/{HOSTILE}/{HOSTILE}",
        "/volume.json",
    }
    file = by_path[f"/files/{HOSTILE}/{HOSTILE}"]
    assert (file["name"], file["type"], file["size"], file["permissions"]) == (HOSTILE, "file", 3, "-rw-r--r--")


@pytest.mark.damages_repository("restic cannot read such a mode")
@pytest.mark.parametrize("time", [-(2**70), -1, 2**70])
def test_no_number_is_too_odd_to_be_listed(icebrick: Icebrick, repository: Repository, time: int) -> None:
    large = 2**64 - 1
    with repository.load_index().writer() as writer:
        node = Node("odd", type="\x1b", mode=large, mtime=Timestamp(time), uid=large, gid=large, size=large)
        tree = writer.save(BlobType.TREE, encode_tree([node]))
    save(repository, tree)
    ran = icebrick("ls", "-l", "latest")
    assert (ran.code, ran.out[:10], ran.out[-6:]) == (0, "?rwxrwxrwx", " /odd\n")


@pytest.mark.parametrize(
    ("path", "code", "problem"),
    [
        ("/files/etc/host", 1, "there is no /files/etc/host in snapshot"),
        ("/files/link/hosts", 1, "/files/link of snapshot"),
        ("/files/../volume.json", 2, "without '.' and '..'"),
    ],
)
@pytest.mark.parametrize("command", ["ls", "dump"])
def test_a_path_that_leads_nowhere_is_told(
    icebrick: Icebrick, ids: tuple[str, str], command: str, path: str, code: int, problem: str
) -> None:
    ran = icebrick(command, ids[0], path)
    assert (ran.code, ran.out) == (code, "")
    assert problem in ran.err


@pytest.mark.parametrize(
    ("arguments", "content"),
    [
        ((), b"::1"),
        (("--single-volume-id", "v1"), b"::1"),
        (("--restore-from-date", "2023-11-15"), b"127.0.0.1"),
        (("--tag", "mode:files"), b"127.0.0.1"),
    ],
)
def test_the_latest_is_of_those_that_count(
    icebrick: Icebrick, ids: tuple[str, str], arguments: tuple[str, ...], content: bytes
) -> None:
    (_, node) = icebrick("ls", "latest", "/files/etc/hosts", "--json", *arguments).json
    assert node["size"] == len(content)


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (("latest", "--single-volume-id", "v2"), 1, "no snapshot of /cinder/v2"),
        (("latest", "--restore-from-date", "2001-01-01"), 1, "no snapshot of anything from 2001-01-01"),
        (("0000", "--restore-from-date", "2001-01-01"), 2, "not snapshot 0000"),
        (("zz",), 1, "no snapshot of anything with an id that starts with 'zz'"),
    ],
)
def test_a_snapshot_that_is_not_there_is_told(
    icebrick: Icebrick, ids: tuple[str, str], arguments: tuple[str, ...], code: int, problem: str
) -> None:
    ran = icebrick("ls", *arguments)
    assert (ran.code, problem in ran.err) == (code, True)


def test_find_looks_into_all_snapshots(icebrick: Icebrick, ids: tuple[str, str]) -> None:
    ran = icebrick("find", "nginx.conf", "hosts")
    heads = [line for line in lines(ran.out) if line.startswith("snapshot ")]
    assert [head.split()[3] for head in heads] == ["/cinder/v1", "/home,", "/cinder/v1,"]
    assert heads[0].split()[4] == "(web),"
    assert [line for line in lines(ran.out) if not line.startswith("snapshot ")] == [
        "/files/etc/hosts",
        "/files/etc/nginx/nginx.conf",
        "/home/nginx.conf",
        "/files/etc/hosts",
    ]


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        (["/home/*.conf"], ["/home/nginx.conf"]),
        (["sites"], ["/files/etc/nginx/sites", "/files/etc/nginx/sites/web"]),
        (["**/nginx/*.conf"], ["/files/etc/nginx/nginx.conf"]),
        (["nginx.conf", "--single-volume-id", "v1"], ["/files/etc/nginx/nginx.conf"]),
        (["hosts", "--snapshot", "latest"], ["/files/etc/hosts"]),
        (["hosts", "--snapshot", "latest", "--tag", "mode:files", "--snapshot", "latest"], ["/files/etc/hosts"]),
    ],
)
def test_find_finds_what_matches(
    icebrick: Icebrick, ids: tuple[str, str], arguments: list[str], paths: list[str]
) -> None:
    assert [match["path"] for match in icebrick("find", "--json", *arguments).json] == paths


def test_a_match_names_its_snapshot(icebrick: Icebrick, ids: tuple[str, str]) -> None:
    (match,) = icebrick("find", "web", "--json").json
    assert (match["message_type"], match["snapshot"]) == ("match", ids[0])


def test_finding_nothing_is_no_failure(icebrick: Icebrick, ids: tuple[str, str]) -> None:
    ran = icebrick("find", "apache2.conf")
    assert (ran.code, ran.out, ran.err) == (0, "", "nothing was found\n")


@pytest.mark.damages_repository("a tree is missing")
@pytest.mark.parametrize("command", [("ls", "--recursive", "latest"), ("find", "*")])
def test_what_cannot_be_read_is_told_and_the_rest_listed(
    icebrick: Icebrick, repository: Repository, command: tuple[str, ...]
) -> None:
    with repository.load_index().writer() as writer:
        nodes = [directory("broken", bytes(32)), Node("good", mode=0o644)]
        tree = writer.save(BlobType.TREE, encode_tree(nodes))
    save(repository, tree)
    ran = icebrick(*command)
    assert ran.code == 1
    assert {"/broken", "/good"} <= set(lines(ran.out))
    assert "/broken cannot be read" in ran.err


def test_a_tree_may_be_deep(icebrick: Icebrick, repository: Repository) -> None:
    with repository.load_index().writer() as writer:
        tree = writer.save(BlobType.TREE, encode_tree([Node("bottom", mode=0o644)]))
        for _ in range(1500):
            tree = writer.save(BlobType.TREE, encode_tree([directory("down", tree)]))
    save(repository, tree)
    assert lines(icebrick("find", "bottom").out)[-1] == "/down" * 1500 + "/bottom"


Dump = Callable[..., bytes]


@pytest.fixture
def dump(icebrick: Icebrick, monkeypatch: pytest.MonkeyPatch) -> Dump:
    """What a dump writes, which is no text."""

    def run(*arguments: str) -> bytes:
        written = io.TextIOWrapper(io.BytesIO())
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout", written)
            assert icebrick("dump", *arguments).code == 0
        written.seek(0)
        return written.buffer.read()

    return run


def test_dump_writes_a_file_as_it_was(dump: Dump, ids: tuple[str, str]) -> None:
    assert dump(ids[0], "/files/home/anna/notes") == NOISE


def test_dump_writes_an_empty_file(dump: Dump, ids: tuple[str, str]) -> None:
    assert dump(ids[0], "files/home/anna/empty") == b""


def test_dump_writes_an_image(icebrick: Icebrick, dump: Dump, location: Path, disk: Path) -> None:
    assert icebrick("backup", "--image", disk, "--name", "disk1").code == 0
    assert dump("latest", "volume.raw", "--image-name", "disk1") == disk.read_bytes()


def test_dump_writes_a_directory_as_an_archive(dump: Dump, ids: tuple[str, str]) -> None:
    with tarfile.open(fileobj=io.BytesIO(dump(ids[0], "/files/home", "--archive", "tar"))) as archive:
        notes = archive.extractfile("files/home/anna/notes")
        assert archive.getnames() == [
            "files/home",
            "files/home/anna",
            "files/home/anna/empty",
            "files/home/anna/notes",
        ]
        assert notes is not None
        assert notes.read() == NOISE


def test_what_tar_cannot_hold_is_told(icebrick: Icebrick, repository: Repository) -> None:
    with repository.load_index().writer() as writer:
        nodes = [Node("odd", type="dev", mode=MODE_DEVICE, device=1 << 63), Node("talk", type="socket")]
        tree = writer.save(BlobType.TREE, encode_tree(nodes))
    save(repository, tree)
    ran = icebrick("dump", "latest", "/", "--archive", "tar")
    assert ran.code == 0
    assert "/odd is left out: a tar archive cannot hold it" in ran.err
    assert "/talk is left out: a tar archive cannot hold a socket" in ran.err


@pytest.mark.damages_repository("a blob is missing")
@pytest.mark.parametrize("lost", [Node("lost", content=bytes(32)), directory("lost", bytes(32))])
def test_an_archive_that_is_not_whole_is_a_failure(icebrick: Icebrick, repository: Repository, lost: Node) -> None:
    with repository.load_index().writer() as writer:
        tree = writer.save(BlobType.TREE, encode_tree([lost]))
    save(repository, tree)
    ran = icebrick("dump", "latest", "/", "--archive", "tar")
    assert (ran.code, "error: " in ran.err) == (1, True)


@pytest.mark.parametrize(("path", "problem"), [("/files", "is no file, but a dir"), ("/files/link", "a symlink")])
def test_only_files_can_be_dumped(icebrick: Icebrick, ids: tuple[str, str], path: str, problem: str) -> None:
    ran = icebrick("dump", ids[0], path)
    assert (ran.code, problem in ran.err) == (2, True)


def test_snapshots_tell_mode_and_name(icebrick: Icebrick, ids: tuple[str, str]) -> None:
    head, first, *_ = lines(icebrick("snapshots").out)
    assert first[head.index("mode") :].split() == ["files", "web"]
