"""Devices of this host that are thrown away."""

from __future__ import annotations

from pathlib import Path

import pytest

from icebrick.cloud.base import Volume
from icebrick.errors import FileSystemError, UsageError
from icebrick.workflow import scratch
from icebrick.workflow.scratch import scratch_device

VOLUME = Volume("scratch", name="", status="", size=1)


def loop_devices_of(folder: Path) -> list[str]:
    return [
        path.read_text()
        for path in Path("/sys/block").glob("loop*/loop/backing_file")
        if str(folder) in path.read_text()
    ]


@pytest.mark.usefixtures("root")
def test_what_is_written_is_read_and_nothing_stays(tmp_path: Path) -> None:
    with scratch_device(tmp_path / "scratch", 10_000) as devices:
        assert not list(tmp_path.iterdir())
        assert len(loop_devices_of(tmp_path)) == 1
        with devices.writable(VOLUME) as target:
            assert target.size == 12_288
            target.write(5000, b"written")
            target.flush()
        buffer = bytearray(7)
        with devices.readable(VOLUME) as source:
            source.read_into(5000, memoryview(buffer))
        assert buffer == b"written"
    assert not loop_devices_of(tmp_path)


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    with pytest.raises(UsageError, match="File exists"), scratch_device(tmp_path / "mine", 4096):
        pass
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_without_a_loop_device_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> str:
        raise FileSystemError("losetup failed with code 1: Permission denied")

    monkeypatch.setattr(scratch, "run_program", refuse)
    with pytest.raises(FileSystemError, match="losetup failed") as caught, scratch_device(tmp_path / "scratch", 4096):
        pass
    assert "needs root" in str(caught.value.hint)
    assert not list(tmp_path.iterdir())
