"""Whose decrypted devices are whose, and what a killed process leaves of them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from icebrick.attach.mappings import Mappings
from icebrick.errors import AttachError


@pytest.fixture
def mappings(tmp_path: Path) -> Mappings:
    return Mappings(tmp_path / "decrypted")


def closed(mappings: Mappings) -> list[str]:
    names: list[str] = []
    mappings.close_dead(names.append)
    return names


def test_a_link_leads_to_the_device_and_goes_with_the_block(mappings: Mappings) -> None:
    with mappings.claimed("/dev/sda") as link:
        assert (link.name, str(link.readlink())) == ("icebrick-sda", "/dev/sda")
    assert not link.is_symlink()
    assert closed(mappings) == []


def test_what_is_open_is_closed_by_nobody_else_and_opened_by_nobody_else(mappings: Mappings) -> None:
    with mappings.claimed("/dev/sda"):
        assert closed(mappings) == []
        with pytest.raises(AttachError, match="another process"), mappings.claimed("/dev/sda"):
            pass
        with mappings.claimed("/dev/sdb"):
            pass


def test_what_could_not_be_closed_stays_noted_until_it_can(mappings: Mappings) -> None:
    with pytest.raises(AttachError, match="in use"), mappings.claimed("/dev/sda"):
        raise AttachError("in use")

    def refuse(name: str) -> None:
        raise AttachError(f"{name} is in use")

    with pytest.raises(AttachError, match="crypt-icebrick-sda"):
        mappings.close_dead(refuse)
    assert closed(mappings) == ["crypt-icebrick-sda"]
    assert closed(mappings) == []


def test_what_cannot_be_closed_is_in_the_way_of_nothing_else(mappings: Mappings) -> None:
    for device in ("/dev/sda", "/dev/sdb"):
        with pytest.raises(AttachError, match="in use"), mappings.claimed(device):
            raise AttachError("in use")
    names: list[str] = []

    def refuse_the_first(name: str) -> None:
        if not names:
            names.append("refused")
            raise AttachError(f"{name} is in use")
        names.append(name)

    with pytest.raises(AttachError, match="crypt-icebrick-sda"):
        mappings.close_dead(refuse_the_first)
    assert names == ["refused", "crypt-icebrick-sdb"]
    assert closed(mappings) == ["crypt-icebrick-sda"]


def test_what_a_killed_process_had_open_is_closed(mappings: Mappings) -> None:
    code = (
        "import sys, time; from pathlib import Path; from icebrick.attach.mappings import Mappings\n"
        "with Mappings(Path(sys.argv[1])).claimed('/dev/sda'):\n"
        "    print('open', flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, str(mappings.directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        assert closed(mappings) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert closed(mappings) == ["crypt-icebrick-sda"]


def test_a_cryptsetup_that_outlives_its_starter_is_waited_for(mappings: Mappings, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), mappings.claimed("/dev/sda"):
        raise RuntimeError
    program = tmp_path / "cryptsetup"
    program.symlink_to("/bin/sh")
    command = [str(program), "-c", "read line", "crypt-icebrick-sda"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        arguments = Path(f"/proc/{process.pid}/cmdline")
        left: list[bytes] = []

        def note_what_is_left(name: str) -> None:
            left.append(arguments.read_bytes())

        assert process.stdin is not None
        process.stdin.close()
        mappings.close_dead(note_what_is_left)
    assert left == [b""]
