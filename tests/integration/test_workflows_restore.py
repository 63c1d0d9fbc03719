"""Restores onto a real Cinder: of volumes that exist, and of volumes that are gone."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.agent import GIB, MIB, Agent, Tenant, allocated, digest, write

from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault

IMAGE_METADATA = {"hw_disk_bus": "scsi", "os_distro": "debian"}
ATTRIBUTES = ("name", "description", "size", "volume_type", "availability_zone", "metadata", "bootable")


def settle_attributes(tenant: Tenant, volume: str) -> None:
    """Image metadata, bootable and read-only, which are not given when a volume is made."""
    tenant.action(volume, "os-set_image_metadata", metadata=IMAGE_METADATA)
    tenant.action(volume, "os-set_bootable", bootable=True)
    tenant.action(volume, "os-update_readonly_flag", readonly=True)


def attributes(tenant: Tenant, volume: str) -> dict[str, Any]:
    record = tenant.api.get(f"/volumes/{volume}")
    return {key: record[key] for key in (*ATTRIBUTES, "volume_image_metadata") if key in record}


def test_a_volume_that_exists_is_restored_onto_a_copy_with_only_the_differences_written(
    agent: Agent, tenant: Tenant
) -> None:
    volume = tenant.make()
    tenant.write(volume, {0: os.urandom(16 * MIB)})
    backed_up = digest(tenant.file(volume))
    agent.back_up(volume)
    tenant.write(volume, {4 * MIB: os.urandom(MIB), GIB // 2: os.urandom(2 * MIB)})
    now = digest(tenant.file(volume))

    report = agent.restore(volume)

    copy = tenant.adopt(report["volume_id"])
    assert copy != volume
    assert digest(tenant.file(volume)) == now
    assert digest(tenant.file(copy)) == backed_up
    assert report["bytes_written"] == MIB
    assert report["bytes_discarded"] == 2 * MIB
    assert report["bytes_matching"] == 15 * MIB  # zeros that were zeros already do not count


def test_a_volume_that_is_gone_is_made_again_with_all_its_attributes_and_stays_sparse(
    agent: Agent, tenant: Tenant
) -> None:
    volume = tenant.make("root disk", description="of web1", metadata={"owner": "web team"})
    tenant.write(volume, {0: os.urandom(2 * MIB), GIB - MIB: os.urandom(MIB)})
    settle_attributes(tenant, volume)
    before, content = attributes(tenant, volume), digest(tenant.file(volume))
    agent.back_up(volume)
    tenant.remove(volume)

    restored = tenant.adopt(agent.restore(volume)["volume_id"])

    assert attributes(tenant, restored) == before
    assert before["volume_image_metadata"] == IMAGE_METADATA
    assert digest(tenant.file(restored)) == content
    assert allocated(tenant.file(restored)) < 8 * MIB
    with tenant.device(restored, "ro") as device:
        assert not _writable(device)


def _writable(device: Path) -> bool:
    try:
        write(device, {0: b"x"})
    except PermissionError:
        return False
    return True


def test_a_copy_has_what_the_volume_is_called_now_and_with_meta_override_what_it_was_called(
    agent: Agent, tenant: Tenant
) -> None:
    volume = tenant.make("then", description="old", metadata={"when": "then"})
    agent.back_up(volume)
    changed = {"name": "now", "description": "new", "metadata": {"when": "now"}}
    assert tenant.api.request("PUT", f"/volumes/{volume}", {"volume": changed})[0] == 200

    copy = tenant.adopt(agent.restore(volume)["volume_id"])
    overridden = tenant.adopt(agent.restore(volume, "--meta-override")["volume_id"])

    found = [tenant.api.get(f"/volumes/{each}") for each in (copy, overridden)]
    assert [(each["name"], each["description"], each["metadata"]) for each in found] == [
        ("now", "new", {"when": "now"}),
        ("then", "old", {"when": "then"}),
    ]


def test_a_snapshot_is_chosen_by_its_id_the_beginning_of_it_or_a_date(
    agent: Agent, tenant: Tenant, tmp_path: Path
) -> None:
    volume = tenant.make()
    states = []
    for number in range(3):
        tenant.write(volume, {0: f"state {number}".encode()})
        states.append((agent.back_up(volume)["snapshot_id"], digest(tenant.file(volume))))
    times = {each["id"]: each["time"] for each in agent.succeed("snapshots", "--json").json[0]}
    (first, _), (second, _), _ = states

    choices: list[tuple[list[str], int]] = [
        ([], 2),
        (["--snapshot", first], 0),
        (["--snapshot", second[:10]], 1),
        (["--restore-from-date", times[second]], 1),
        (["--restore-from-date", "2999-01-01"], 2),
    ]
    for number, (arguments, wanted) in enumerate(choices):
        target = tmp_path / f"{number}.raw"
        agent.succeed("restore", "--single-volume-id", volume, "--target", target, *arguments)
        assert digest(target) == states[wanted][1], arguments

    copy = tenant.adopt(agent.restore(volume, "--snapshot", first)["volume_id"])
    assert digest(tenant.file(copy)) == states[0][1]

    too_early = agent("restore", "--single-volume-id", volume, "--restore-from-date", "2001-02-03")
    assert too_early.code == 1
    assert too_early.error.startswith(f"no snapshot of volume {volume} from 2001-02-03T23:59:59")
    assert "the first is from" in too_early.error


def test_verify_proves_the_restored_volume_and_writes_a_receipt(agent: Agent, tenant: Tenant, tmp_path: Path) -> None:
    volume = tenant.make()
    tenant.write(volume, {0: os.urandom(3 * MIB)})
    backup = agent.back_up(volume)
    tenant.remove(volume)

    report = agent.restore(volume, "--verify", "--receipt", tmp_path / "receipt.json")

    restored = tenant.adopt(report["volume_id"])
    receipt = json.loads((tmp_path / "receipt.json").read_text())
    assert receipt == report["receipt"]
    assert receipt["target"] == restored
    assert receipt["snapshot_id"] == backup["snapshot_id"]
    assert receipt["digest"] == backup["digest"]
    assert (receipt["size"], receipt["mismatches"], receipt["first_mismatches"]) == (GIB, 0, [])
    assert 0 < receipt["zero_blocks"] < receipt["blocks"]


@contextmanager
def damaged_before_the_next(
    devcloud: Devcloud, tenant: Tenant, fault: Fault, content: dict[int, bytes]
) -> Iterator[None]:
    """Write into the volume that meets the held fault, behind everybody's back, and let it go on."""
    devcloud.set_faults(fault)

    def damage() -> None:
        volume = devcloud.wait_held(fault).id
        write(tenant.file(volume), content)
        devcloud.release(fault)

    thread = threading.Thread(target=damage)
    thread.start()
    try:
        yield
    finally:
        devcloud.release(fault)
        thread.join()


def test_a_volume_damaged_between_restore_and_verification_is_found_out_and_does_not_stay(
    agent: Agent, tenant: Tenant, devcloud: Devcloud, tmp_path: Path
) -> None:
    volume = tenant.make()
    tenant.write(volume, {0: os.urandom(3 * MIB)})
    agent.back_up(volume)
    tenant.remove(volume)
    second_connection = Fault("initialize_connection", "wait", skip=1)

    with damaged_before_the_next(devcloud, tenant, second_connection, {MIB + 7: b"not this", GIB - 3: b"nor"}):
        ran = agent(
            "restore", "--json", "--single-volume-id", volume, "--verify", "--receipt", tmp_path / "receipt.json"
        )

    assert ran.code == 3
    assert ran.record("receipt")["mismatches"] == 2
    receipt = json.loads((tmp_path / "receipt.json").read_text())
    assert receipt["mismatches"] == 2
    first, last = receipt["first_mismatches"]
    assert first == {"offset": MIB, "length": MIB}
    assert last == {"offset": GIB - MIB, "length": MIB}
    tenant.assert_tidy()
