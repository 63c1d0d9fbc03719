"""Who works in the tests of whole workflows: a tenant with volumes, and the agent's command in this process."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.ran import Ran

from icebrick.cli.main import run

PASSWORD = "correct horse battery staple"
MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Agent:
    """Runs commands in this process: a new one would spend seconds on imports."""

    capture: pytest.CaptureFixture[str]
    repository: Path

    def __call__(self, *arguments: str | Path) -> Ran:
        self.capture.readouterr()
        texts = [str(argument) for argument in arguments]
        code = run(texts, as_json="--json" in texts)
        captured = self.capture.readouterr()
        return Ran(code, captured.out, captured.err)

    def succeed(self, *arguments: str | Path) -> Ran:
        ran = self(*arguments)
        assert ran.code == 0, ran.out + ran.err
        return ran

    def back_up(self, *volume_ids: str) -> dict[str, Any]:
        """The report of a backup that worked and left nothing; of the first volume, its own report."""
        named = [text for volume_id in volume_ids for text in ("--single-volume-id", volume_id)]
        report = self.succeed("backup", "--json", *named).record()
        assert report["leftovers"] == []
        return dict(report["backups"][0])

    def restore(self, volume_id: str, *arguments: str | Path) -> dict[str, Any]:
        """What became of the volume, by a restore that worked and left nothing."""
        report = self.succeed("restore", "--json", "--single-volume-id", volume_id, *arguments).record()
        assert report["leftovers"] == []
        (restored,) = report["restores"]
        return {**restored, **restored["filled"]}

    def snapshot_ids(self) -> list[str]:
        """Oldest first."""
        return [snapshot["id"] for snapshot in self.succeed("snapshots", "--json").json[0]]


@dataclass(frozen=True, slots=True)
class Tenant:
    """A project's member, and the volumes that are meant to be. The back end keeps its files in `pool`."""

    api: Any
    pool: Path
    volumes: set[str] = field(default_factory=set)

    def make(self, name: str = "data", **fields: Any) -> str:
        return self.adopt(self.api.make_volume(name, **fields))

    def adopt(self, volume_id: str) -> str:
        """A volume that somebody else has made, and rightly."""
        self.volumes.add(volume_id)
        return volume_id

    def remove(self, volume_id: str) -> None:
        self.volumes.discard(volume_id)
        self.api.remove("volume", volume_id)

    def file(self, volume_id: str) -> Path:
        """What the back end holds of the volume."""
        return self.pool / "volumes" / f"volume-{volume_id}"

    @contextmanager
    def device(self, volume_id: str, mode: str = "rw") -> Iterator[Path]:
        """Attached: the volume is in use until the block ends."""
        attachment, device = self.api.attach(volume_id, mode)
        try:
            yield Path(device)
        finally:
            self.api.detach(attachment)

    def write(self, volume_id: str, content: dict[int, bytes]) -> None:
        """Bytes by offset, as a server that has the volume would."""
        with self.device(volume_id) as device:
            write(device, content)

    def action(self, volume_id: str, name: str, **fields: Any) -> None:
        status, answer = self.api.request("POST", f"/volumes/{volume_id}/action", {name: fields})
        assert status in (200, 202), answer

    def grow(self, volume_id: str, size: int) -> None:
        self.action(volume_id, "os-extend", new_size=size)
        self.api.wait(f"/volumes/{volume_id}", "available")

    def resources(self) -> set[str]:
        """Ids of all volumes and volume snapshots of the project."""
        return {each["id"] for kind in ("volumes", "snapshots") for each in list_all(self.api, f"/{kind}")}

    def assert_tidy(self) -> None:
        """Nothing is in the project but the volumes that are meant to be, and nothing is attached."""
        assert self.resources() == self.volumes
        assert list_all(self.api, "/attachments") == []

    def clear(self) -> None:
        """Remove all there is, attached or not, for the next test to begin with nothing."""
        for attachment in list_all(self.api, "/attachments"):
            self.api.detach(attachment["id"])
        for volume in list_all(self.api, "/volumes"):
            if volume["id"] not in self.volumes:
                self.remove(volume["id"])
        for snapshot in list_all(self.api, "/snapshots"):
            self.api.remove("snapshot", snapshot["id"])
        for volume_id in list(self.volumes):
            self.remove(volume_id)


@contextmanager
def quota(admin: Any, tenant: Tenant, **limits: int) -> Iterator[None]:
    """Limits of alice's project, until the block ends."""
    project = tenant.api.get(f"/volumes/{next(iter(tenant.volumes))}")["os-vol-tenant-attr:tenant_id"]
    path = f"/os-quota-sets/{project}"
    before = {key: admin.get(path)[key] for key in limits}
    assert admin.request("PUT", path, {"quota_set": limits})[0] == 200
    try:
        yield
    finally:
        assert admin.request("PUT", path, {"quota_set": before})[0] == 200


def list_all(api: Any, path: str) -> list[Any]:
    """Every page of a listing."""
    found: list[Any] = []
    while page := api.get(f"{path}?marker={found[-1]['id']}" if found else path):
        found += page
    return found


def write(path: Path, content: dict[int, bytes]) -> None:
    with path.open("r+b") as file:
        for offset, data in content.items():
            file.seek(offset)
            file.write(data)


def digest(path: Path) -> str:
    """Of a file's size and of every MiB in it that is not all zeros: holes and written zeros are the same."""
    found = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        found.update(str(size).encode())
        for offset in _pieces_with_data(file.fileno(), size):
            piece = os.pread(file.fileno(), MIB, offset)
            if piece.count(0) != len(piece):
                found.update(f"{offset}:".encode() + piece)
    return found.hexdigest()


def _pieces_with_data(fd: int, size: int) -> Iterator[int]:
    offset = 0
    while offset < size:
        try:
            offset = os.lseek(fd, offset, os.SEEK_DATA) // MIB * MIB
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            if error.errno != errno.EINVAL:
                raise
            yield from range(offset, size, MIB)  # a block device, which does not tell
            return
        yield offset
        offset += MIB


def allocated(path: Path) -> int:
    """Bytes that the file takes."""
    return path.stat().st_blocks * 512
