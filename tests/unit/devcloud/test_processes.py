"""Servers and their owners are told from other processes."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from icebrick.devcloud.layout import layout_of
from icebrick.devcloud.locking import locked_directory
from icebrick.devcloud.processes import find_servers, process_id, stop_servers
from icebrick.errors import DevcloudError


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has a devcloud's directory among its arguments, but is none of its servers."""
    command = [sys.executable, "-c", "input()", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_process_that_only_names_the_directory_is_no_server(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    assert find_servers(tmp_path) == ()
    stop_servers(tmp_path)
    assert other.poll() is None


def test_the_same_process_has_the_same_id_twice() -> None:
    assert process_id(os.getpid()) == process_id(os.getpid()) is not None


def test_a_process_that_has_ended_has_no_id_even_before_anybody_asked_for_its_code(
    other: subprocess.Popen[bytes],
) -> None:
    handle = os.pidfd_open(other.pid)
    other.kill()
    select.select([handle], [], [])
    os.close(handle)
    assert process_id(other.pid) is None


def test_locking_makes_a_private_directory_and_leaves_no_file_in_it(tmp_path: Path) -> None:
    with locked_directory(tmp_path / "new"):
        assert list((tmp_path / "new").iterdir()) == []
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_may_write_in_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    with pytest.raises(DevcloudError, match="written by others"), locked_directory(tmp_path):
        pass


def test_a_file_where_the_directory_should_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DevcloudError, match="cannot use directory"),
        locked_directory(layout_of(tmp_path / "file").directory),
    ):
        pass
