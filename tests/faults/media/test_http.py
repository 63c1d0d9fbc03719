"""Media over HTTP whose servers, or what is between, fail in every way: right data or an error, never wrong data."""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest
from tests.faults.media.conftest import ALWAYS, ATTEMPTS, HTTP, HttpMedium, Pauses

from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.backend.http.client import HttpClient, HttpSettings
from icebrick.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    FileMissingError,
    IcebrickError,
    StorageFullError,
)
from icebrick.repository.ids import BlobType, digest
from icebrick.repository.repository import init_repository, open_repository
from icebrick.secret import Secret
from icebrick.testing import httpfaults as spoil
from icebrick.testing.httpfaults import Fault
from icebrick.testing.repositories import CHEAP, add_snapshot

pytestmark = pytest.mark.damages_repository("to a backend, files are mere bytes")

of_every_medium = pytest.mark.parametrize("medium", HTTP, indirect=True)
of_one_medium = pytest.mark.parametrize("medium", ["rest"], indirect=True)
"""What a repository makes of bytes has nothing to do with where they come from."""

SIZE = 1 << 20
CONTENT = random.Random(4).randbytes(SIZE)
PACK = Handle(FileType.PACK, hashlib.sha256(CONTENT).hexdigest())


@dataclass(frozen=True)
class Call:
    """One call of a backend, what it must give, and which of its requests are spoiled."""

    name: str
    make: Callable[[Backend], object]
    wanted: object
    method: str | None = None
    path: str = ""

    def __str__(self) -> str:
        return self.name


SAVE = Call("save", lambda backend: backend.save(PACK, CONTENT), None, None, PACK.name)
LOAD = Call("load", lambda backend: backend.load(PACK), CONTENT, "GET", PACK.name)
RANGE = Call("range", lambda backend: backend.load(PACK, offset=7, length=5000), CONTENT[7:5007], "GET", PACK.name)
STAT = Call("stat", lambda backend: backend.stat(PACK), FileInfo(PACK, SIZE), None, PACK.name)
LIST = Call(
    "list",
    lambda backend: list(backend.list_files(FileType.PACK)),
    [FileInfo(PACK, SIZE)],
    "GET",
    r"/data/$|[?&]prefix=",
)
REMOVE = Call("remove", lambda backend: backend.remove(PACK), None, None, PACK.name)
CALLS = (SAVE, LOAD, RANGE, STAT, LIST, REMOVE)

PASSING: dict[str, Fault] = {
    "500": spoil.status(500),
    "502": spoil.status(502, body=b"<html>bad gateway</html>"),
    "503": spoil.status(503),
    "429": spoil.status(429, {"Retry-After": "1"}),
    "reset-at-once": spoil.reset_at_once,
    "lost-answer": spoil.lose_answer,
    "reset-in-answer": spoil.reset_in_answer,
    "end-early": spoil.end_early,
    "reset-in-upload": spoil.reset_in_upload,
}
"""What may have passed when it is tried again."""

FINAL: dict[str, tuple[Fault, type[BackendError]]] = {
    "403": (spoil.status(403), AccessDeniedError),
    "507": (spoil.status(507), StorageFullError),
}


def prepared(medium: HttpMedium, call: Call, fault: Fault, *, times: int = 1) -> Call:
    """The call, the file there when it needs it, and the fault waiting for it."""
    medium.proxy.behave()
    with medium.opened() as backend:
        if call is SAVE:
            backend.remove(PACK)
        else:
            backend.save(PACK, CONTENT)
    medium.proxy.met = 0
    medium.proxy.spoil(fault, method=call.method, path=call.path, times=times)
    return call


@pytest.mark.parametrize(
    ("medium", "fault"),
    [(medium, fault) for medium in HTTP for fault in PASSING if medium == "rest" or fault not in {"500", "502", "429"}],
    indirect=["medium"],
)
def test_what_passes_does_no_harm(medium: HttpMedium, pauses: Pauses, fault: str) -> None:
    with medium.opened() as backend:
        patient = pauses.patient(backend)
        for call in CALLS:
            assert prepared(medium, call, PASSING[fault]).make(patient) == call.wanted, call
            assert medium.proxy.met == 1, call
            if call is not REMOVE:
                assert patient.load(PACK) == CONTENT, call
                continue
            with pytest.raises(FileMissingError):
                patient.load(PACK)


@of_every_medium
def test_what_does_not_pass_is_told_after_a_bounded_number_of_attempts_each_of_them_logged(
    medium: HttpMedium, pauses: Pauses, caplog: pytest.LogCaptureFixture
) -> None:
    with medium.opened() as backend, caplog.at_level(logging.WARNING):
        for call in CALLS:
            prepared(medium, call, spoil.status(503), times=ALWAYS)
            caplog.clear()
            pauses.made.clear()
            with pytest.raises(BackendUnavailableError) as told:
                call.make(pauses.patient(backend))
            assert PACK.name in str(told.value) or call is LIST
            assert [line.getMessage().split()[0] for line in caplog.records] == ["retry"] * (ATTEMPTS - 1), call
            assert len(pauses.made) == ATTEMPTS - 1, call
            medium.proxy.behave()
            assert [info.handle for info in backend.list_files(FileType.PACK)] == ([] if call is SAVE else [PACK])


@of_one_medium
def test_what_an_rclone_calls_missing_is_looked_for_again(medium: HttpMedium, pauses: Pauses) -> None:
    """It says so of everything while it cannot reach its storage."""
    with medium.opened() as backend:
        for call in (LOAD, RANGE, STAT, REMOVE):
            prepared(medium, call, spoil.status(404, {"Server": "rclone/v1"}))
            assert call.make(pauses.patient(backend)) == call.wanted, call
            assert len(pauses.made) == 1, call
            pauses.made.clear()
        assert list(backend.list_files(FileType.PACK)) == []


@of_every_medium
def test_a_burst_is_outlived_and_the_server_left_alone_as_long_as_it_asks(medium: HttpMedium, pauses: Pauses) -> None:
    medium.proxy.spoil(spoil.status(503, {"Retry-After": "7"}), path=PACK.name, times=5)
    with medium.opened() as backend:
        pauses.patient(backend, attempts=12).save(PACK, CONTENT)
        assert backend.load(PACK) == CONTENT
    assert medium.proxy.met == 5
    assert min(pauses.made) >= 7


@of_every_medium
@pytest.mark.parametrize("fault", FINAL)
def test_a_refusal_is_told_at_once(medium: HttpMedium, pauses: Pauses, fault: str) -> None:
    answer, kind = FINAL[fault]
    with medium.opened() as backend:
        for call in CALLS:
            prepared(medium, call, answer, times=ALWAYS)
            with pytest.raises(kind):
                call.make(pauses.patient(backend))
    assert pauses.made == []


EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


@of_every_medium
def test_a_token_that_expired_is_renewed_or_the_refusal_told(medium: HttpMedium, pauses: Pauses) -> None:
    with medium.opened() as backend:
        list(backend.list_files(FileType.LOCK))  # logged in, where there is a log-in
        for call in CALLS:
            prepared(medium, call, spoil.status(400, body=EXPIRED) if medium.name == "s3" else spoil.status(401))
            if medium.name == "swift":
                assert call.make(pauses.patient(backend)) == call.wanted, call
                continue
            # S3 answers to HEAD with no word of why
            with pytest.raises(BackendError if (medium.name, call) == ("s3", STAT) else AccessDeniedError):
                call.make(pauses.patient(backend))


@of_every_medium
@pytest.mark.parametrize("lie", [spoil.page_instead, spoil.shorten], ids=lambda lie: lie.__name__)
def test_an_answer_that_cannot_be_is_told(medium: HttpMedium, pauses: Pauses, lie: Fault) -> None:
    """A whole file of any content can be: what is in it, the repository proves."""
    with medium.opened() as backend:
        for call in (RANGE, LIST):
            prepared(medium, call, lie)
            with suppress(BackendError):
                assert call.make(pauses.patient(backend)) == call.wanted, call
            assert medium.proxy.met == 1, call


@of_every_medium
def test_a_server_that_says_nothing_is_given_up(
    medium: HttpMedium, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    prepared(medium, LOAD, spoil.hang)
    with medium.opened() as backend:
        assert pauses.patient(backend).load(PACK) == CONTENT
    assert medium.proxy.met == 1


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for answers for no more than a second."""
    make = HttpClient.__init__

    def impatient(client: HttpClient, settings: HttpSettings) -> None:
        make(client, replace(settings, answer_seconds=1.0))

    monkeypatch.setattr(HttpClient, "__init__", impatient)
    monkeypatch.setattr("icebrick.backend.s3.backend.ANSWER_SECONDS", 1.0)


PASSWORD = Secret("correct horse")
FILES = {"a": random.Random(1).randbytes(16_000), "b": random.Random(2).randbytes(9_000)}


def read_all(medium: HttpMedium, pauses: Pauses) -> set[str]:
    """The snapshots there are, after everything in them was read and found right."""
    with medium.opened() as raw:
        repository = open_repository(pauses.patient(raw), PASSWORD)
        found = {snapshot.id for snapshot in repository.snapshots()}
        store = repository.load_index()
        for content in FILES.values():
            pieces = [content[start : start + 8000] for start in range(0, len(content), 8000)]
            assert [store.load(BlobType.DATA, digest(piece)) for piece in pieces] == pieces
    return found


@pytest.fixture
def snapshot_id(medium: HttpMedium) -> str:
    """Of a repository there."""
    with medium.opened() as backend:
        repository = init_repository(backend, PASSWORD, parameters=CHEAP)
        found = add_snapshot(repository, FILES)
    medium.proxy.requests.clear()
    return found


LIES: dict[str, Fault] = {"page-instead": spoil.page_instead, "shorten": spoil.shorten, "flip": spoil.flip}


SNAPSHOT = "/snapshots/[0-9a-f]{9}"
KINDS = ("/config$", "/keys/[0-9a-f]{9}", SNAPSHOT, "/index/[0-9a-f]{9}", "/data/[0-9a-f/]{9}")


@of_one_medium
@pytest.mark.parametrize("lie", LIES)
def test_a_wrong_body_once_is_read_again_or_told(
    medium: HttpMedium, pauses: Pauses, snapshot_id: str, lie: str
) -> None:
    for kind in KINDS:
        medium.proxy.met = 0
        medium.proxy.spoil(LIES[lie], method="GET", path=kind)
        try:
            assert read_all(medium, pauses) == {snapshot_id}
        except BackendError:
            assert lie != "flip", kind
        assert medium.proxy.met == 1, kind


@of_one_medium
@pytest.mark.parametrize("lie", LIES)
def test_wrong_bodies_are_told_and_never_taken_for_data(
    medium: HttpMedium, pauses: Pauses, snapshot_id: str, lie: str
) -> None:
    for kind in KINDS:
        medium.proxy.behave()
        medium.proxy.spoil(LIES[lie], method="GET", path=kind, times=ALWAYS)
        if kind == SNAPSHOT:  # the others shall still be seen, so it is a warning
            assert read_all(medium, pauses) == set()
            continue
        with pytest.raises(IcebrickError):
            read_all(medium, pauses)


@of_every_medium
def test_listings_that_are_behind_hide_what_is_new_and_nothing_else(
    medium: HttpMedium, pauses: Pauses, snapshot_id: str
) -> None:
    medium.proxy.spoil(spoil.Stale(), method="GET", path=LIST.path.replace("data", "[a-z]+"), times=ALWAYS)
    assert read_all(medium, pauses) == {snapshot_id}
    with medium.opened() as backend:
        later = add_snapshot(open_repository(pauses.patient(backend), PASSWORD), {"c": b"later" * 1000}, 1)
    assert read_all(medium, pauses) == {snapshot_id}
    medium.proxy.behave()
    assert read_all(medium, pauses) == {snapshot_id, later}
