"""What a running devcloud does: its accounts, its volumes, its faults."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault

MIB = 1 << 20
GIB = 1 << 30


@pytest.fixture
def alice(devcloud: Devcloud, login: Callable[..., Any]) -> Any:
    return login(devcloud, "alice")


@pytest.fixture
def volume(alice: Any) -> Iterator[str]:
    volume_id = alice.make_volume("mine")
    yield volume_id
    alice.remove("volume", volume_id)


def write(device: str, data: bytes, offset: int = 0) -> None:
    with Path(device).open("r+b") as file:
        file.seek(offset)
        file.write(data)


def read(device: str, length: int) -> bytes:
    with Path(device).open("rb") as file:
        return file.read(length)


def size_of(device: str) -> int:
    with Path(device).open("rb") as file:
        return file.seek(0, os.SEEK_END)


def test_only_its_owner_can_read_the_passwords(devcloud: Devcloud) -> None:
    assert stat.S_IMODE(devcloud.clouds_yaml.stat().st_mode) == 0o600
    assert stat.S_IMODE(devcloud.layout.directory.stat().st_mode) == 0o700


def test_a_new_password_is_made_for_every_devcloud_and_is_not_shown(devcloud: Devcloud) -> None:
    record = devcloud.status().record
    assert record is not None
    assert len(record.password.reveal()) >= 24
    assert record.password.reveal() not in repr(record)


def test_a_member_of_another_project_does_not_see_a_volume(
    devcloud: Devcloud, login: Callable[..., Any], volume: str
) -> None:
    assert login(devcloud, "bob").request("GET", f"/volumes/{volume}")[0] == 404


def test_an_admin_sees_the_volumes_of_all_projects(devcloud: Devcloud, login: Callable[..., Any], volume: str) -> None:
    backup = login(devcloud, "backup")
    assert [each["id"] for each in backup.get("/volumes?all_tenants=1")] == [volume]


def test_a_reader_sees_a_volume_and_may_not_make_one(
    devcloud: Devcloud, login: Callable[..., Any], volume: str
) -> None:
    rita = login(devcloud, "rita")
    assert rita.get(f"/volumes/{volume}")["name"] == "mine"
    assert rita.request("POST", "/volumes", {"volume": {"size": 1}})[0] == 403


def test_listings_come_in_pages(alice: Any) -> None:
    made = [alice.make_volume() for _ in range(4)]
    assert len(alice.get("/volumes")) == 3
    for volume_id in made:
        alice.remove("volume", volume_id)


def test_a_snapshot_of_an_attached_volume_has_what_was_written_before(alice: Any, volume: str) -> None:
    data = os.urandom(MIB)
    attachment, device = alice.attach(volume)
    write(device, data)
    snapshot = alice.make("snapshot", volume_id=volume, force=True)
    write(device, bytes(MIB))
    clone = alice.make_volume(snapshot_id=snapshot)
    clone_attachment, clone_device = alice.attach(clone, "ro")

    assert read(clone_device, MIB) == data

    alice.detach(clone_attachment)
    alice.remove("volume", clone)
    alice.remove("snapshot", snapshot)
    alice.detach(attachment)


def test_a_device_that_is_attached_for_reading_cannot_be_written(alice: Any, volume: str) -> None:
    attachment, device = alice.attach(volume, "ro")
    with pytest.raises(PermissionError):
        write(device, b"x")
    alice.detach(attachment)


def test_a_read_only_volume_cannot_be_written_however_it_is_attached(alice: Any, volume: str) -> None:
    alice.request("POST", f"/volumes/{volume}/action", {"os-update_readonly_flag": {"readonly": True}})
    attachment, device = alice.attach(volume, "ro")
    with pytest.raises(PermissionError):
        write(device, b"x")
    alice.detach(attachment)


def test_a_clone_has_the_content_of_its_source(alice: Any, volume: str) -> None:
    attachment, device = alice.attach(volume)
    write(device, b"content")
    clone = alice.make_volume(source_volid=volume)
    clone_attachment, clone_device = alice.attach(clone)

    assert read(clone_device, 7) == b"content"

    alice.detach(clone_attachment)
    alice.remove("volume", clone)
    alice.detach(attachment)


def test_an_attached_volume_can_grow(alice: Any, volume: str) -> None:
    attachment, device = alice.attach(volume)
    alice.request("POST", f"/volumes/{volume}/action", {"os-extend": {"new_size": 2}})
    alice.wait(f"/volumes/{volume}", "in-use")
    assert size_of(device) == 2 * GIB
    alice.detach(attachment)


def test_a_volume_can_go_back_to_its_snapshot(alice: Any, volume: str) -> None:
    snapshot = alice.make("snapshot", volume_id=volume)
    attachment, device = alice.attach(volume)
    write(device, b"later")
    alice.detach(attachment)
    alice.request("POST", f"/volumes/{volume}/action", {"revert": {"snapshot_id": snapshot}})
    alice.wait(f"/volumes/{volume}", "available")
    attachment, device = alice.attach(volume)

    assert read(device, 5) == bytes(5)

    alice.detach(attachment)
    alice.remove("snapshot", snapshot)


def test_the_last_attachment_takes_the_shared_device_away(
    devcloud: Devcloud, login: Callable[..., Any], alice: Any
) -> None:
    backup = login(devcloud, "backup")
    specs = {"multiattach": "<is> True"}
    _, made = backup.request("POST", "/types", {"volume_type": {"name": "shared", "extra_specs": specs}})
    volume = alice.make_volume(volume_type="shared")
    (first, device), (second, same_device) = alice.attach(volume), alice.attach(volume)
    assert device == same_device
    alice.detach(first)
    assert [loop.device for loop in devcloud.footprint().loops] == [device]
    alice.detach(second)
    assert not devcloud.footprint().loops
    alice.remove("volume", volume)
    backup.request("DELETE", f"/types/{made['volume_type']['id']}")


def test_a_group_is_snapshotted_and_made_again_as_one(alice: Any) -> None:
    group_type = next(each["id"] for each in alice.get("/group_types") if each["name"] == "consistent")
    volume_type = alice.get("/types/default")["id"]
    group = alice.make("group", group_type=group_type, volume_types=[volume_type], name="pair")
    members = [alice.make_volume(volume_type=volume_type, group_id=group) for _ in range(2)]
    snapshot = alice.make("group_snapshot", group_id=group)
    assert {each["volume_id"] for each in alice.get("/snapshots/detail")} == set(members)
    _, made = alice.request("POST", "/groups/action", {"create-from-src": {"group_snapshot_id": snapshot}})
    copy = made["group"]["id"]
    alice.wait(f"/groups/{copy}", "available")
    assert len(alice.get("/volumes?group_id=" + copy)) == 2
    alice.remove("group_snapshot", snapshot)
    for each in (copy, group):
        alice.request("POST", f"/groups/{each}/action", {"delete": {"delete-volumes": True}})
        wait_gone(alice, f"/groups/{each}")


def wait_gone(api: Any, path: str) -> None:
    end = time.monotonic() + 60
    while api.request("GET", path)[0] != 404:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_file_system_on_a_volume_counts_as_left_over_while_it_is_mounted(
    devcloud: Devcloud, alice: Any, volume: str, tmp_path: Path
) -> None:
    attachment, device = alice.attach(volume)
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    subprocess.run(["mount", device, str(tmp_path)], check=True)
    assert [mount.path for mount in devcloud.footprint().mounts] == [str(tmp_path)]
    subprocess.run(["umount", str(tmp_path)], check=True)
    alice.detach(attachment)


def test_a_failing_operation_puts_the_volume_in_error(devcloud: Devcloud, alice: Any) -> None:
    devcloud.set_faults(Fault("create_volume", "fail"))
    volume = alice.make_volume("doomed", wanted="error")
    alice.remove("volume", volume)


def test_a_failure_after_the_operation_leaves_its_work_done(devcloud: Devcloud, alice: Any, volume: str) -> None:
    devcloud.set_faults(Fault("create_snapshot", "fail", when="after"))
    snapshot = alice.make("snapshot", volume_id=volume, wanted="error")
    assert f"snapshots/snapshot-{snapshot}" in devcloud.footprint().files
    alice.remove("snapshot", snapshot)


def test_a_fault_is_only_for_the_names_it_matches(devcloud: Devcloud, alice: Any) -> None:
    devcloud.set_faults(Fault("*", "fail", match="^doomed"))
    volume = alice.make_volume("lucky")
    alice.remove("volume", volume)


def test_a_fault_can_let_some_pass_and_end_by_itself(devcloud: Devcloud, alice: Any) -> None:
    devcloud.set_faults(Fault("create_volume", "fail", skip=1, times=1))
    made = [alice.make_volume(f"v{i}", wanted=wanted) for i, wanted in enumerate(("available", "error", "available"))]
    for volume in made:
        alice.remove("volume", volume)


def test_a_delayed_operation_lasts_longer(devcloud: Devcloud, alice: Any) -> None:
    devcloud.set_faults(Fault("create_volume", "delay", seconds=0.7))
    volume = alice.make_volume()
    times = {each.phase: each.time for each in devcloud.ops() if (each.id, each.operation) == (volume, "create_volume")}
    assert times["end"] - times["start"] >= 0.7
    alice.remove("volume", volume)


def test_a_held_operation_waits_until_it_is_released(devcloud: Devcloud, alice: Any, volume: str) -> None:
    fault = Fault("create_snapshot", "wait")
    devcloud.set_faults(fault)
    _, made = alice.request("POST", "/snapshots", {"snapshot": {"volume_id": volume}})
    path = f"/snapshots/{made['snapshot']['id']}"
    assert devcloud.wait_held(fault).id == made["snapshot"]["id"]
    assert alice.get(path)["status"] == "creating"
    devcloud.release(fault)
    alice.wait(path, "available")
    alice.remove("snapshot", made["snapshot"]["id"])


def test_the_log_tells_what_failed_and_why(devcloud: Devcloud, alice: Any, volume: str) -> None:
    devcloud.set_faults(Fault("initialize_connection", "fail"))
    _, made = alice.request("POST", "/attachments", {"attachment": {"volume_uuid": volume}})
    path = f"/attachments/{made['attachment']['id']}"
    assert alice.request("PUT", path, {"attachment": {"connector": {"host": "here"}}})[0] == 500
    alice.request("DELETE", path)
    last = [each for each in devcloud.ops() if each.operation == "initialize_connection"][-1]
    assert (last.phase, last.id, last.name) == ("error", volume, "mine")
    assert "injected fault before initialize_connection" in last.error
