"""Storms on a real Cinder: its driver fails and dawdles by chance while all projects are backed up, many at once.

`ICEBRICK_STORM_SEED=3` lets this seed alone break out. In memory there are many more: `tests/faults/test_storm.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from tests.faults.content import digest_of
from tests.faults.stepping import skip_holes_of_loop_devices
from tests.integration.agent import MIB, PASSWORD, Agent

from icebrick.attach import blockio, direct
from icebrick.backend.local import LocalBackend
from icebrick.cloud.base import Cloud, GroupSpec, VolumeSpec
from icebrick.cloud.session import connect
from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.faults import Fault
from icebrick.progress import NO_PROGRESS
from icebrick.repository.repository import open_repository
from icebrick.secret import Secret
from icebrick.workflow.images import load_images
from icebrick.workflow.points import volume_id_of
from icebrick.workflow.restore import Restorable, restore_to_path

pytestmark = pytest.mark.slow

ALONE = os.environ.get("ICEBRICK_STORM_SEED")
SEEDS = range(10) if ALONE is None else [int(ALONE)]
OWNERS = {"alice": "consistent", "bob": "independent", "greta": None}
"""Of eight volumes each; and of which type their groups are."""
OPERATIONS = (
    "create_snapshot",
    "create_group_snapshot",
    "create_volume_from_snapshot",
    "initialize_connection",
    "terminate_connection",
    "delete_volume",
    "delete_snapshot",
    "delete_group_snapshot",
)


@dataclass(frozen=True, slots=True)
class Sea:
    """24 volumes of three projects, by id; and the members of two groups."""

    cloud: Cloud
    """As the agent sees it, an administrator."""
    digests: dict[str, str]
    names: dict[str, str]
    members: dict[str, set[str]]

    def resources(self) -> list[tuple[str, str, object]]:
        """All there is in the cloud, and how it is."""
        cloud = self.cloud
        volumes = [(each.id, each.status, each.metadata) for each in cloud.all_volumes()]
        others = [*cloud.all_snapshots(), *cloud.all_group_snapshots(), *cloud.all_groups()]
        return sorted([*volumes, *((each.id, each.status, None) for each in others)], key=str)


@pytest.fixture(scope="module")
def sea(session_devcloud: Devcloud) -> Iterator[Sea]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(session_devcloud.clouds_yaml))
        with closing(connect("backup")) as cloud:
            sea = Sea(cloud, {}, {}, {})
            try:
                for owner, group_type in OWNERS.items():
                    _make_volumes(sea, session_devcloud, owner, group_type)
                yield sea
            finally:
                for group in sea.members:
                    for member in sea.members[group]:
                        cloud.remove_from_group(member)
                    cloud.delete_group(group)
                for volume_id in sea.names:
                    cloud.delete_volume(volume_id)


def _make_volumes(sea: Sea, devcloud: Devcloud, owner: str, group_type: str | None) -> None:
    with closing(connect(owner)) as cloud:
        group = None
        if group_type is not None:
            group = cloud.create_group(GroupSpec("database", group_type, (cloud.volume_types()[0],))).id
            sea.members[group] = set()
        for number in range(8):
            name = f"storm-{owner}-{number}"
            inside = group if number < 2 else None
            volume = cloud.create_volume(VolumeSpec(name, 1, volume_type=cloud.volume_types()[0], group_id=inside))
            sea.names[volume.id] = name
            if inside is not None:
                sea.members[inside].add(volume.id)
            file = next(devcloud.layout.pool.glob(f"*/*{volume.id}"))
            with file.open("r+b") as disk:
                disk.seek(number * 3 * MIB)
                disk.write(os.urandom(MIB))
            sea.digests[volume.id] = digest_of(file)


def draw_faults(chance: Random) -> list[Fault]:
    """Three to five operations fail, and some take their time."""
    failing = [
        Fault(
            chance.choice(OPERATIONS),
            when=chance.choice(("before", "after")),
            skip=chance.randrange(6),
            times=chance.choice((1, 1, 2)),
        )
        for _ in range(chance.randrange(3, 6))
    ]
    return [*failing, Fault(chance.choice(OPERATIONS), "delay", seconds=0.5, skip=chance.randrange(4), times=3)]


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_the_driver_fails_at_each_volume_is_complete_or_a_named_failure_and_nothing_stays(
    agent: Agent, devcloud: Devcloud, sea: Sea, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (blockio, direct):
        monkeypatch.setattr(module, "data_extents", module.data_extents)  # so that it comes back at the end
    skip_holes_of_loop_devices()
    chance = Random(seed)
    if seed == 0:
        scope, wanted = ["--all-tenants", "--filter", "name=storm-*"], set(sea.names)
    elif seed % 3 == 1:
        scope, wanted = ["--consistency-groups", ",".join(sea.members)], set().union(*sea.members.values())
    else:
        ends = f"[{seed % 6}{seed % 6 + 2}]"
        scope = ["--all-tenants", "--filter", f"name=storm-*-{ends}"]
        wanted = {each for each, name in sea.names.items() if name[-1] in ends}
    before, began = sea.resources(), len(devcloud.ops())

    devcloud.set_faults(*draw_faults(chance))
    ran = agent("--cloud", "backup", "backup", "--json", *scope, "--mode", "blocks", "--parallel", "10")
    devcloud.set_faults()

    assert seed != 0 or any(each.phase == "error" for each in devcloud.ops()[began:])
    report = ran.record()
    done = {each["path"].rpartition("/")[2] for each in report["backups"]}
    failed = {each["volume_id"]: each["message"] for each in report["failures"]}
    assert (done | set(failed), done & set(failed)) == (wanted, set())
    assert all(failed.values())
    assert ran.code == (3 if failed else 0)
    agent.succeed("--cloud", "backup", "cleanup")
    assert sea.resources() == before
    assert_claims(agent, sea, {each["snapshot_id"] for each in report["backups"]}, tmp_path)


def assert_claims(agent: Agent, sea: Sea, claimed: set[str], folder: Path) -> None:
    """What is there was claimed, and restores what the volumes hold."""
    agent.succeed("check", "--read-data")
    with closing(LocalBackend(agent.repository)) as backend:
        images = load_images(open_repository(backend, Secret(PASSWORD)), NO_PROGRESS)
        assert {snapshot.id for snapshot in images.snapshots} == claimed
        for snapshot in images.snapshots:
            restorable = Restorable(snapshot, images.find(snapshot), images)
            restore_to_path(restorable, folder / "proof", replace=True, run_id="judge", progress=NO_PROGRESS)
            assert digest_of(folder / "proof") == sea.digests[volume_id_of(snapshot) or ""]
