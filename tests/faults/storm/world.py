"""What storms go over: a cloud of three projects, two groups and 24 volumes, and the commands of an administrator.

Commands are the real ones, whole; what they reach outside the process is in memory.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import pkgutil
import random
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any
from unittest.mock import patch

from tests.faults.storm.filed import content_of, pages

import icebrick
from icebrick import app
from icebrick.attach import brick
from icebrick.backend.base import Backend, FileType
from icebrick.backend.location import Location
from icebrick.backend.memory import MemoryBackend
from icebrick.cli import main
from icebrick.cloud import session
from icebrick.cloud.base import GroupSpec, Project, VolumeSettings, VolumeSpec
from icebrick.repository import lock
from icebrick.testing.fakecloud import FakeCloud
from icebrick.testing.fakeconnector import FakeConnector
from icebrick.testing.fakerecords import ALPHA, BETA, FakeRecords
from icebrick.testing.fakeservers import start_server
from icebrick.testing.faultplan import FaultPlan
from icebrick.testing.images import PASSWORD, small_repository
from icebrick.testing.turns import Turns, patched

GAMMA = Project("6a330000000000000000000000000000", "gamma")
PROJECTS = (ALPHA, BETA, GAMMA)
"""The administrator's own, one in which the user has a role, one in which not."""
VOLUMES_IN_EACH = 8
MEMBERS = 3
_PAGE = 4096
_MIB = 1 << 20


Content = dict[int, bytes] | dict[str, bytes]
"""What is not zero, by offset; or files, by name."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did: its exit code, its JSON lines, and those of its errors and warnings."""

    code: int
    lines: tuple[dict[str, Any], ...]
    errors: str

    @property
    def summary(self) -> dict[str, Any] | None:
        """None when it ended before there was anything to tell."""
        return next((line for line in self.lines if line.get("message_type") == "summary"), None)


@dataclass
class World:
    """All of it. Made by `make_world`, all randomness from `chance`."""

    chance: Random
    state_dir: Path
    records: FakeRecords
    connector: FakeConnector
    clouds: dict[str, FakeCloud]
    """By the name in clouds.yaml."""
    backends: dict[str, MemoryBackend]
    """By location."""
    location: str
    wrap: Callable[[Backend], Backend] = field(default=lambda backend: backend)
    """What stands between a command and a backend."""
    contents: dict[str, Content] = field(default_factory=dict)
    """By volume id, as they were made."""
    members: dict[str, list[str]] = field(default_factory=dict)
    """By group id, as they were made."""
    former: dict[str, Content] = field(default_factory=dict)
    """What volumes held, by id, when earlier backups of them were made."""

    @property
    def password_file(self) -> Path:
        return self.state_dir / "password"

    def command(self, *arguments: str, turns: Turns | None = None) -> Ran:
        """Run one to its end; in turns, if there are any."""
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(output))
            stack.enter_context(contextlib.redirect_stderr(errors))
            stack.enter_context(self._outside_in_memory())
            if turns is not None:
                stack.enter_context(patched(turns, _modules()))
            code = main.run(["--json", "--quiet", *arguments], as_json=True)
        lines = tuple(json.loads(line) for line in output.getvalue().splitlines())
        return Ran(code, lines, errors.getvalue())

    def copied(self) -> World:
        """Another one, as this one is now; it shares the state directory."""
        records = FakeRecords(
            volumes=dict(self.records.volumes),
            content={each: device.copy() for each, device in self.records.content.items()},
            snapshots=dict(self.records.snapshots),
            attachments=dict(self.records.attachments),
            modes=dict(self.records.modes),
            groups=dict(self.records.groups),
            servers={each: replace(server, disks=dict(server.disks)) for each, server in self.records.servers.items()},
        )
        backends = {}
        for location, backend in self.backends.items():
            backends[location] = MemoryBackend()
            for file_type in FileType:
                for info in backend.list_files(file_type):
                    backends[location].save(info.handle, backend.load(info.handle))
        chance = Random()
        chance.setstate(self.chance.getstate())
        return World(
            chance,
            self.state_dir,
            records,
            FakeConnector(records, makes_devices=self.connector.makes_devices),
            _logins(records),
            backends,
            self.location,
            contents=dict(self.contents),
            members=dict(self.members),
            former=dict(self.former),
        )

    @property
    def groups(self) -> list[str]:
        return list(self.members)

    def calm(self) -> None:
        """From now on nothing fails."""
        for cloud in self.clouds.values():
            cloud.faults = FaultPlan()
        self.connector.faults = FaultPlan()
        self.records.quota = 1000
        self.wrap = lambda backend: backend

    def resources(self) -> dict[str, Any]:
        """Everything there is in the cloud, without times and what it holds."""
        records = self.records
        return {
            **records.volumes,
            **records.snapshots,
            **records.attachments,
            **records.groups,
            **records.group_snapshots,
            **records.transfers,
        }

    def content(self, volume_id: str) -> Content:
        """Where the host makes devices and this one has a file system, the files in that."""
        device = self.records.content[volume_id]
        return content_of(device) if self.connector.makes_devices else pages(device)

    @contextmanager
    def _outside_in_memory(self) -> Iterator[None]:
        environment = {
            "OS_CLOUD": "admin",
            "RESTIC_REPOSITORY": self.location,
            "RESTIC_PASSWORD_FILE": str(self.password_file),
            "ICEBRICK_STATE_DIR": str(self.state_dir),
            "ICEBRICK_READER": "host",
            "HOME": str(self.state_dir),
        }
        with contextlib.ExitStack() as stack:
            stack.enter_context(patch.dict("os.environ", environment))
            for target, name, value in (
                (session, "connect", lambda name=None, **_: self.clouds[name or "admin"]),
                (brick, "BrickConnector", lambda _settings: self.connector),
                (app, "open_backend", self._open_backend),
                (lock, "SETTLE_SECONDS", 0.0),
                (uuid, "uuid4", lambda: uuid.UUID(int=self.chance.getrandbits(128), version=4)),
            ):
                stack.enter_context(patch.object(target, name, value))
            yield

    def _open_backend(self, location: Location, _options: object = None) -> Backend:
        return self.wrap(self.backends.setdefault(str(location), MemoryBackend()))


def make_world(chance: Random, state_dir: Path, *, location: str) -> World:
    records = FakeRecords()
    world = World(chance, state_dir, records, FakeConnector(records), _logins(records), {}, location)
    world.password_file.write_text(PASSWORD.reveal())
    with patch.object(uuid, "uuid4", lambda: uuid.UUID(int=chance.getrandbits(128), version=4)):
        _populate(world)
    for project in PROJECTS:
        place = location.replace("{project_id}", project.id)
        if place not in world.backends:
            world.backends[place] = MemoryBackend()
            small_repository(world.backends[place])
    random.seed(chance.getrandbits(64))  # of pauses between attempts
    return world


def _logins(records: FakeRecords) -> dict[str, FakeCloud]:
    members = {project.name: FakeCloud(records, project) for project in PROJECTS}
    return {"admin": FakeCloud(records, ALPHA, admin=True, elsewhere=(BETA,)), **members}


def _populate(world: World) -> None:
    shared = world.chance.randbytes(_PAGE)
    for cloud in [world.clouds[project.name] for project in PROJECTS]:
        made = [_make_volume(world, cloud, number, shared) for number in range(VOLUMES_IN_EACH)]
        if cloud.project() != GAMMA:
            kind = "consistent" if cloud.project() == ALPHA else "independent"
            group = cloud.create_group(GroupSpec("database", kind, ("__DEFAULT__",)))
            world.members[group.id] = made[:MEMBERS]
            for volume_id in made[:MEMBERS]:
                cloud.add_to_group(group.id, volume_id)
        start_server(world.records, made[-1])  # one is in use


def _make_volume(world: World, cloud: FakeCloud, number: int, shared: bytes) -> str:
    volume = cloud.create_volume(VolumeSpec(f"disk-{number}", 1, volume_type="__DEFAULT__"))
    settings = VolumeSettings(volume.name, "data", {"number": str(number)}, {"os": "linux"}, number == 0, False)
    cloud.apply_settings(volume.id, settings)
    device = cloud.content(volume.id)
    device.write(number * 3 * _MIB, shared)
    device.write(200 * _MIB + world.chance.randrange(50) * _PAGE, world.chance.randbytes(_PAGE))
    world.contents[volume.id] = pages(device)
    return volume.id


@functools.cache
def _modules() -> list[ModuleType]:
    """Ours that start threads or wait; but the keeping of locks, which waits for minutes."""
    for found in pkgutil.walk_packages(icebrick.__path__, "icebrick."):
        if found.name.split(".")[1] not in ("devcloud", "testing", "__main__"):
            importlib.import_module(found.name)
    return [
        module
        for name, module in sys.modules.items()
        if name.startswith("icebrick.") and not name.startswith("icebrick.testing") and module is not lock
    ]
