"""os-brick with its `local` connector, which needs no storage network: files stand in for exported volumes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from icebrick.attach.brick import BrickConnector, BrickSettings, reason_of
from icebrick.connection import ConnectionInfo
from icebrick.errors import AttachError

SIZE = 1 << 20


@pytest.fixture
def connector(tmp_path: Path) -> BrickConnector:
    return BrickConnector(BrickSettings(tmp_path / "state", ip="127.0.0.1"))


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    path = tmp_path / "volume-1"
    path.write_bytes(b"x" * SIZE)
    return path


def local(path: object) -> ConnectionInfo:
    return ConnectionInfo("local", {"device_path": str(path)})


def test_the_host_tells_its_name_and_address(connector: BrickConnector) -> None:
    told = connector.properties().values
    assert told["host"]
    assert told["ip"] == "127.0.0.1"


def test_what_local_storage_exports_is_read(connector: BrickConnector, exported: Path) -> None:
    buffer = bytearray(4)
    with connector.open_source(local(exported), size=SIZE) as source:
        source.read_into(10, memoryview(buffer))
    assert buffer == b"xxxx"


def test_what_local_storage_exports_is_written(connector: BrickConnector, exported: Path) -> None:
    with connector.open_target(local(exported), size=SIZE) as target:
        target.write(10, b"data")
    assert exported.read_bytes()[9:15] == b"xdatax"


def test_a_link_that_storage_exports_is_refused(connector: BrickConnector, exported: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(exported)
    with pytest.raises(AttachError, match="not a block device"), connector.open_source(local(link), size=SIZE):
        pass


@pytest.mark.parametrize(
    "info",
    [ConnectionInfo("nonsense", {}), ConnectionInfo("local", {})],
    ids=["unknown protocol", "no device path"],
)
def test_a_connection_that_makes_no_sense_is_an_attach_error(connector: BrickConnector, info: ConnectionInfo) -> None:
    with pytest.raises(AttachError, match="os-brick failed"), connector.open_source(info, size=SIZE):
        pass


def test_a_program_that_fails_is_told_without_its_arguments() -> None:
    from oslo_concurrency.processutils import ProcessExecutionError  # noqa: PLC0415 - slow to import

    failed = ProcessExecutionError(cmd="iscsiadm -m node -v s3cret", exit_code=15, stderr="iscsiadm: no session\nmore")
    assert reason_of(failed) == "iscsiadm ended with 15: iscsiadm: no session"


def test_disconnecting_what_is_not_there_is_fine(connector: BrickConnector, tmp_path: Path) -> None:
    connector.disconnect(local(tmp_path / "gone"))


def test_an_error_in_the_block_is_raised_as_it_is(connector: BrickConnector, exported: Path) -> None:
    with pytest.raises(ZeroDivisionError), connector.open_source(local(exported), size=SIZE):
        raise ZeroDivisionError


def test_connection_data_is_neither_shown_nor_logged(
    connector: BrickConnector, exported: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    info = ConnectionInfo("local", {"device_path": str(exported), "auth_password": "chap-s3cret"})
    with connector.open_source(info, size=SIZE):
        pass
    assert "chap-s3cret" not in caplog.text + repr(info)


def test_a_device_that_another_connection_has_is_refused_and_left_to_it(
    connector: BrickConnector, exported: Path
) -> None:
    with connector.open_source(local(exported), size=SIZE) as source:
        again = connector.open_target(local(exported), size=SIZE)
        with pytest.raises(AttachError, match="in use by another connection"), again:
            pass
        connector.disconnect(local(exported))
        source.read_into(0, memoryview(bytearray(4)))
    with connector.open_target(local(exported), size=SIZE):
        pass


def test_a_device_that_another_name_leads_to_is_refused_too(
    connector: BrickConnector, exported: Path, tmp_path: Path
) -> None:
    again = tmp_path / "volume-2"
    again.hardlink_to(exported)
    with (
        connector.open_source(local(exported), size=SIZE),
        pytest.raises(AttachError, match=r"file .* is in use"),
        connector.open_source(local(again), size=SIZE),
    ):
        pass
