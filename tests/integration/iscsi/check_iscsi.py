"""Backups and restores over real iSCSI. After each nothing of it is on this host: see fixtures `devcloud`, `tenant`."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.integration.agent import MIB, Agent, digest
from tests.integration.iscsi.conftest import LvmTenant

from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault
from icebrick.devcloud.iscsi import find_connections, target_prefix

TARGETS = Path("/sys/kernel/config/target/iscsi")
WAIT_SECONDS = 300.0
WRONG = "wrongwrongwrong"


@contextmanager
def sessions_counted() -> Iterator[list[str]]:
    """At the end, what the kernel said of each iSCSI session that began in the block."""
    subprocess.run(["dmesg", "--clear"], check=True)  # its buffer is short, and full of storage that went away
    seen: list[str] = []
    yield seen
    log = subprocess.run(["dmesg"], check=True, capture_output=True, text=True).stdout
    seen += [line for line in log.splitlines() if "iSCSI Initiator over TCP/IP" in line]


def test_a_volume_in_use_is_backed_up_twice_and_restored_to_a_copy(agent: Agent, tenant: LvmTenant) -> None:
    volume = tenant.make()
    guest = tenant.give_to_guest(volume)
    tenant.write(volume, {0: os.urandom(8 * MIB)})

    with sessions_counted() as sessions:
        first = agent.back_up(volume)
        tenant.write(volume, {4 * MIB: os.urandom(MIB)})
        content = digest(tenant.file(volume))
        second = agent.back_up(volume)

    assert len(sessions) == 2
    assert second["parent_id"] == first["snapshot_id"]
    assert first["bytes_packed"] > 8 * MIB
    assert MIB <= second["bytes_packed"] < 2 * MIB
    copy = tenant.adopt(agent.restore(volume)["volume_id"])
    assert digest(tenant.file(copy)) == content
    tenant.api.detach(guest)


def test_a_volume_comes_back_in_place_and_when_it_is_gone(agent: Agent, tenant: LvmTenant) -> None:
    volume = tenant.make()
    tenant.write(volume, {0: os.urandom(2 * MIB)})
    content = digest(tenant.file(volume))
    agent.back_up(volume)
    tenant.write(volume, {MIB: os.urandom(2 * MIB)})

    agent.restore(volume, "--in-place")
    assert digest(tenant.file(volume)) == content

    for snapshot in tenant.api.get("/snapshots"):  # the safety snapshot, which is kept
        tenant.api.remove("snapshot", snapshot["id"])
    tenant.remove(volume)
    restored = tenant.adopt(agent.restore(volume, "--verify")["volume_id"])
    assert digest(tenant.file(restored)) == content


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Another thread does it; what it raises is raised at the end of the block."""
    problems: list[BaseException] = []

    def work() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - raised again
            problems.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()
    for problem in problems:
        raise problem


def test_a_wrong_chap_password_is_an_error_and_leaves_nothing(
    agent: Agent, tenant: LvmTenant, devcloud: Devcloud
) -> None:
    volume = tenant.make()
    connected = Fault("initialize_connection", "wait", when="after", times=1)
    devcloud.set_faults(connected)

    def exchange_password() -> None:
        devcloud.wait_held(connected, timeout=WAIT_SECONDS)
        (password,) = TARGETS.glob(f"{target_prefix(devcloud.layout.directory)}*/tpgt_1/acls/*/auth/password")
        password.write_text(WRONG)
        devcloud.release(connected)

    with meanwhile(exchange_password):
        ran = agent("backup", "--single-volume-id", volume)
    assert ran.code == 1
    assert "os-brick" in ran.error
    assert WRONG not in ran.out + ran.err
    assert find_connections(devcloud.layout.directory) == frozenset()
    tenant.assert_tidy()


def wait_until_read(least: int) -> None:
    """So many bytes of a disk that came over iSCSI."""
    end = time.monotonic() + WAIT_SECONDS
    while not any(512 * int(path.read_text().split()[2]) >= least for path in Path("/sys/block").glob("sd*/stat")):
        assert time.monotonic() < end, "nobody reads"
        time.sleep(0.05)


def test_a_storage_that_goes_away_while_it_is_read_is_an_error_and_leaves_nothing(
    agent: Agent, tenant: LvmTenant, devcloud: Devcloud
) -> None:
    volume = tenant.make()
    tenant.write(volume, {0: os.urandom(64 * MIB)})

    def go_away() -> None:
        wait_until_read(16 * MIB)
        for target in TARGETS.glob(f"{target_prefix(devcloud.layout.directory)}*"):
            (target / "tpgt_1" / "enable").write_text("0")

    with meanwhile(go_away):
        ran = agent("--limit-upload", "4M", "backup", "--single-volume-id", volume)
    assert ran.code == 1
    assert "Input/output error" in ran.error
    agent.succeed("cleanup")
    assert find_connections(devcloud.layout.directory) == frozenset()
    tenant.assert_tidy()


@pytest.fixture
def multipathd() -> Iterator[None]:
    configuration = Path("/etc/multipath.conf")
    configuration.write_text(
        "defaults {\n user_friendly_names no\n find_multipaths no\n}\nblacklist {\n devnode ^ubd\n}\n"
    )
    daemon = subprocess.Popen(["multipathd", "-d", "-v1"])
    try:
        yield
    finally:
        daemon.terminate()
        daemon.wait()
        configuration.unlink()


def test_a_volume_comes_by_two_ways_at_once(agent: Agent, tenant: LvmTenant, multipathd: None, tmp_path: Path) -> None:
    volume = tenant.make()
    tenant.write(volume, {0: os.urandom(MIB)})
    content = digest(tenant.file(volume))
    config = tmp_path / "icebrick.ini"
    config.write_text("[agent]\nmultipath = yes\nenforce-multipath = yes\n")

    with sessions_counted() as sessions:
        report = agent.succeed("--config", str(config), "backup", "--json", "--single-volume-id", volume).record()

    assert report["leftovers"] == []
    assert len(sessions) == 2
    target = tmp_path / "image"
    agent.succeed("restore", "--single-volume-id", volume, "--target", target)
    assert digest(target) == content
