"""The command that tries out a storage medium."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.conftest import Icebrick

from icebrick.backend.base import FileType, Handle
from icebrick.backend.conformance.suite import CHECKS, Suite, is_empty
from icebrick.backend.local import LocalBackend
from icebrick.backend.location import parse_location
from icebrick.backend.memory import MemoryBackend
from icebrick.backend.wrap.retry import RetryPolicy
from icebrick.errors import AccessDeniedError

pytestmark = pytest.mark.damages_repository("to a backend, files are mere bytes")


@pytest.fixture(autouse=True)
def small_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icebrick.backend.conformance.suite.SAMPLE", 1000)
    monkeypatch.setattr("icebrick.cli.check_backend.PATIENCE", RetryPolicy(attempts=2, base=0.001))


@pytest.fixture
def medium(monkeypatch: pytest.MonkeyPatch) -> type[MemoryBackend]:
    """What serves mem: in this test; to be made worse."""

    class Medium(MemoryBackend):
        pass

    monkeypatch.setattr("icebrick.backend.media.MemoryBackend", Medium)
    return Medium


def test_a_good_medium_passes_and_its_rates_are_told(icebrick: Icebrick) -> None:
    ran = icebrick("check-backend", "mem:")
    assert ran.code == 0, ran.err
    assert ran.out.count("ok   ") == len(CHECKS)
    assert "all that a repository needs is there\nfiles of 16 MiB: " in ran.out


def test_what_is_wrong_is_named_and_the_exit_code_is_3(icebrick: Icebrick, medium: type[MemoryBackend]) -> None:
    medium.remove = lambda self, handle: None  # type: ignore[method-assign]
    ran = icebrick("check-backend", "mem:")
    assert ran.code == 3
    assert "FAILED" in ran.out
    assert "a-removed-file-is-gone: loading it: got 768 bytes" in ran.out
    assert "would not be safe" in ran.err
    assert "files are left" in ran.err


def test_what_is_wished_only_is_told_and_no_failure(icebrick: Icebrick, medium: type[MemoryBackend]) -> None:
    whole = medium.load

    def load(self: MemoryBackend, handle: Handle, *, offset: int = 0, length: int | None = None) -> bytes:
        content = whole(self, handle, offset=offset, length=length)
        return content[:1000] if handle.type is FileType.CONFIG and len(content) == 200_000 else content

    medium.load = load  # type: ignore[method-assign]
    ran = icebrick("check-backend", "mem:")
    assert ran.code == 0
    assert ran.out.count("weak  ") == 2
    assert "weak in 2 points" in ran.out


def test_as_json_each_check_is_a_line(icebrick: Icebrick, medium: type[MemoryBackend]) -> None:
    medium.stat = lambda self, handle: _raise(AccessDeniedError("no"))  # type: ignore[method-assign]
    lines = icebrick("check-backend", "mem:", "--json").json
    *checks, summary = (line for line in lines if line.get("message_type") != "status")  # of progress, on a slow host
    assert [check["name"] for check in checks] == [check.name for check in CHECKS]
    failed = [check for check in checks if not check["passed"]]
    assert all(check["error"] and check["needed"] for check in failed)
    assert summary == {"message_type": "summary", "checks": len(CHECKS), "failed": len(failed), "weak": 0}


def _raise(error: Exception) -> None:
    raise error


def test_a_repository_at_the_place_is_left_as_it_was(icebrick: Icebrick, location: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in location.rglob("*")}
    assert icebrick("check-backend", location).code == 0
    assert {path: path.stat().st_mtime_ns for path in location.rglob("*")} == before


def test_all_that_was_made_goes_even_the_folders_above(icebrick: Icebrick, tmp_path: Path) -> None:
    assert icebrick("check-backend", tmp_path / "new" / "place").code == 0
    assert not (tmp_path / "new").exists()


def test_a_place_that_cannot_be_made_is_an_error(icebrick: Icebrick, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = icebrick("check-backend", tmp_path / "file")
    assert ran.code == 1
    assert "cannot create" in ran.err


def test_two_places_are_a_mistake(icebrick: Icebrick, tmp_path: Path) -> None:
    assert icebrick("-r", "mem:", "check-backend", tmp_path).code == 2


def test_without_a_place_it_says_how_to_name_one(icebrick: Icebrick) -> None:
    assert icebrick("check-backend").code == 2


@pytest.mark.parametrize("effective", [False, True], ids=["before", "after"])
def test_an_interrupted_check_leaves_nothing(effective: bool) -> None:
    class Interrupting(MemoryBackend):
        calls = 0

        def save(self, handle: Handle, data: bytes | bytearray | memoryview) -> None:
            type(self).calls += 1
            if type(self).calls != 20:
                super().save(handle, data)
                return
            if effective:
                super().save(handle, data)
            raise KeyboardInterrupt

    backend = Interrupting()
    suite = Suite(backend)
    with pytest.raises(KeyboardInterrupt):
        try:
            list(suite.outcomes())
        finally:
            suite.clear()
    assert is_empty(backend)


def test_every_check_can_fail() -> None:
    """A medium that keeps nothing and says so to nobody passes only what it needs not keep anything for."""

    class Void(MemoryBackend):
        def save(self, handle: Handle, data: object) -> None:
            pass

    passed = {outcome.check.name for outcome in Suite(Void()).outcomes() if outcome.error is None}
    assert passed == {
        "an-empty-place-has-no-config",
        "an-empty-place-lists-nothing",
        "a-missing-file-is-said-to-be-missing",
        "a-removed-file-is-gone",
        "removing-what-is-not-there-is-fine",
    }


@pytest.mark.parametrize(
    ("location", "below"),
    [
        ("/srv/backup", "local:/srv/backup/x"),
        ("s3:https://host/bucket", "s3:https://host/bucket/x"),
        ("s3:https://host/bucket/prefix/", "s3:https://host/bucket/prefix/x"),
        ("swift:container:/", "swift:container:/x"),
        ("swift:container:/prefix", "swift:container:/prefix/x"),
        ("sftp:host:", "sftp:host:x"),
        ("sftp:user@host:/srv", "sftp:user@host:/srv/x"),
        ("rclone:remote:", "rclone:remote:x"),
        ("rclone:remote:path", "rclone:remote:path/x"),
        ("rest:http://host:8000/", "rest:http://host:8000/x"),
        ("ftp://host/backup", "ftp://host/backup/x"),
        ("mem:", "mem:"),
    ],
)
def test_the_place_of_a_check_is_beside_the_repository(location: str, below: str) -> None:
    found = parse_location(location).below("x")
    assert f"{found.scheme}:{found.address}" == below


def test_a_discarded_local_place_that_is_in_use_stays(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "place")
    backend.create()
    backend.save(Handle(FileType.CONFIG), b"config")
    assert not backend.discard()
    assert backend.load(Handle(FileType.CONFIG)) == b"config"
