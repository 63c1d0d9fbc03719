"""No two connections of this host get the same, whoever makes them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from icebrick.attach.claims import Claims
from icebrick.errors import AttachError


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    return Claims(tmp_path / "state" / "connections.lock")


def test_what_is_held_is_held_by_nobody_else_until_the_block_ends(claims: Claims) -> None:
    with claims.held(["device 8:0", "unit 1"]):
        assert claims.taken(["unit 1"])
        with pytest.raises(AttachError, match="device 8:0 is in use"), claims.held(["unit 2", "device 8:0"]):
            pass
        with claims.held(["device 8:16"]):
            assert not claims.taken(["unit 2"])
    with claims.held(["device 8:0"]):
        assert not claims.taken([])


def test_another_process_is_told_too_and_one_that_is_killed_lets_go(claims: Claims) -> None:
    program = f"""
import sys
from pathlib import Path
from icebrick.attach.claims import Claims
with Claims(Path({str(claims.path)!r})).held(["device 8:0"]):
    print("held", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(AttachError), claims.held(["device 8:0"]):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with claims.held(["device 8:0"]):
        pass


def test_a_claim_is_gone_after_an_error(claims: Claims) -> None:
    with pytest.raises(ZeroDivisionError), claims.held(["device 8:0"]):
        raise ZeroDivisionError
    assert not claims.taken(["device 8:0"])


def test_a_place_that_cannot_be_written_is_an_attach_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")
    with pytest.raises(AttachError, match="cannot open"), Claims(tmp_path / "state" / "lock").held([]):
        pass
