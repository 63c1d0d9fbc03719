"""How threads share connections."""

from __future__ import annotations

import pytest

from icebrick.backend.sessions import FileSession, SessionPool, reason
from icebrick.errors import BackendUnavailableError


class Session(FileSession):
    """Alive until told otherwise."""

    def __init__(self) -> None:
        self.well = True
        self.closed = False

    def alive(self) -> bool:
        return self.well

    def close(self) -> None:
        self.closed = True


class Server:
    def __init__(self) -> None:
        self.sessions: list[Session] = []

    def connect(self) -> Session:
        self.sessions.append(Session())
        return self.sessions[-1]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def pool(server: Server) -> SessionPool[Session]:
    return SessionPool(server.connect)


def test_a_session_is_used_again_and_never_twice_at_once(pool: SessionPool[Session], server: Server) -> None:
    with pool.lend() as first, pool.lend() as second:
        assert first is not second
    with pool.lend(), pool.lend():
        pass
    assert len(server.sessions) == 2


def test_one_that_broke_is_closed_and_so_are_those_that_were_idle(pool: SessionPool[Session], server: Server) -> None:
    with pool.lend(), pool.lend():
        pass
    with pytest.raises(BackendUnavailableError), pool.lend() as session:
        session.well = False
        raise BackendUnavailableError("broken")
    assert [session.closed for session in server.sessions] == [True, True]
    with pool.lend() as fresh:
        assert fresh not in server.sessions[:2]


def test_one_that_failed_without_breaking_is_kept(pool: SessionPool[Session], server: Server) -> None:
    with pytest.raises(BackendUnavailableError), pool.lend():
        raise BackendUnavailableError("not now")
    with pool.lend():
        pass
    assert len(server.sessions) == 1


def test_one_that_died_while_it_was_idle_is_not_lent(pool: SessionPool[Session], server: Server) -> None:
    with pool.lend() as session:
        pass
    session.well = False
    with pool.lend() as other:
        assert other is not session
    assert session.closed


def test_closing_closes_all_that_are_not_lent(pool: SessionPool[Session], server: Server) -> None:
    with pool.lend(), pool.lend():
        pass
    pool.close()
    assert all(session.closed for session in server.sessions)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "the server does not answer"),
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 22)"), "connection refused"),
        (OSError(113, "No route to host"), "no route to host"),
        (OSError("Multiple exceptions."), "multiple exceptions"),
        (ValueError("Bad \x1b[2J key."), "bad [2j key"),
        (EOFError(), "eoferror"),
    ],
)
def test_why_a_connection_failed_is_told_in_plain_words(error: Exception, words: str) -> None:
    assert reason(error) == words
