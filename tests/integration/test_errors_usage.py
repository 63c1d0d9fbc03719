"""What a user can get wrong before anything is done: each mistake with its message, its hint and its exit code."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.agent import MIB, PASSWORD, Agent, Tenant

from icebrick.backend.local import LocalBackend
from icebrick.devcloud.devcloud import Devcloud
from icebrick.repository.lockfile import LockFile, save_lock_file, this_host
from icebrick.repository.repository import open_repository
from icebrick.secret import Secret
from icebrick.testing.loopdevice import loop_device

NO_VOLUME = "00000000-0000-0000-0000-00000000dead"


@pytest.fixture
def volume(tenant: Tenant) -> str:
    return tenant.make()


@pytest.fixture
def stored(agent: Agent, tmp_path: Path) -> str:
    """A small image in the repository, for whatever fails after it was read; its snapshot's id."""
    image = tmp_path / "disk.raw"
    image.write_bytes(os.urandom(MIB))
    report = agent.succeed("backup", "--json", "--image", image, "--name", "disk").record()
    return str(report["backups"][0]["snapshot_id"])


@pytest.fixture
def clouds_with(
    devcloud: Devcloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Any], None]], None]:
    """Changes alice's entry of clouds.yaml, for this test."""

    def rewrite(change: Callable[[Any], None]) -> None:
        document = yaml.safe_load(devcloud.clouds_yaml.read_text())
        change(document["clouds"]["alice"])
        (tmp_path / "clouds.yaml").write_text(yaml.safe_dump(document))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))

    return rewrite


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# The repository


def test_a_wrong_password_of_the_repository_ends_with_12(
    agent: Agent, volume: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "another")
    refused = agent("backup", "--single-volume-id", volume)
    assert refused.code == 12
    assert str(agent.repository) in refused.error
    assert "password" in refused.error
    assert "password" in refused.hint


def test_a_location_without_a_repository_ends_with_10(agent: Agent, volume: str, tmp_path: Path) -> None:
    refused = agent("backup", "-r", tmp_path / "nowhere", "--single-volume-id", volume)
    assert refused.code == 10
    assert str(tmp_path / "nowhere") in refused.error
    assert "icebrick init" in refused.hint


def test_an_exclusive_lock_ends_a_backup_with_11_and_says_whose_it_is(agent: Agent, volume: str) -> None:
    repository = open_repository(LocalBackend(agent.repository), Secret(PASSWORD))
    host = this_host()
    lock = LockFile(host.now(), True, "storage7", "carol", 4711)
    save_lock_file(repository.backend, repository.key, lock)

    refused = agent("backup", "--single-volume-id", volume)

    assert refused.code == 11
    for part in ("storage7", "carol", "4711"):
        assert part in refused.error
    assert "icebrick unlock" in refused.hint


# The configuration and the command line


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[agent]\nretry_lok = 5m\n", "[agent] retry_lok: unknown key"),
        ("[agent]\nretry_lock = soon\n", "[agent] retry_lock: 'soon' is not a time"),
        ("[agents]\n", "unknown section [agents]"),
    ],
)
def test_a_mistake_in_the_configuration_is_told_with_its_place(
    agent: Agent, volume: str, tmp_path: Path, text: str, problem: str
) -> None:
    config = tmp_path / "icebrick.conf"
    config.write_text(text)
    refused = agent("backup", "--config", config, "--single-volume-id", volume)
    assert refused.code == 2
    assert refused.error.startswith(f"configuration {config}: {problem}")


def test_a_password_file_that_cannot_be_read_is_named(agent: Agent, volume: str, tmp_path: Path) -> None:
    refused = agent("backup", "--password-file", tmp_path, "--single-volume-id", volume)
    assert (refused.code, refused.error) == (2, f"cannot read password file {tmp_path}: Is a directory")


def test_a_password_file_that_others_can_read_is_warned_of_and_used(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(PASSWORD)
    path.chmod(0o644)
    ran = agent.succeed("snapshots", "--password-file", path)
    assert f"WARNING icebrick.cli.password: everybody on this host can read password file {path}" in ran.err
    path.chmod(0o600)
    assert agent.succeed("snapshots", "--password-file", path).err == ""


def test_a_date_that_is_none_is_told_with_examples(agent: Agent, volume: str) -> None:
    refused = agent("restore", "--single-volume-id", volume, "--restore-from-date", "yesterday")
    assert (refused.code, refused.error) == (2, "command line --restore-from-date: 'yesterday' is not a date or time")
    assert "2026-11-23" in refused.hint


# The cloud


def test_a_volume_that_does_not_exist_is_named(agent: Agent, tenant: Tenant) -> None:
    refused = agent("backup", "--single-volume-id", NO_VOLUME)
    assert refused.code == 1
    assert NO_VOLUME in refused.error
    assert "404" in refused.error
    assert "project" in refused.hint


def test_a_volume_of_another_project_does_not_exist_for_this_user(
    agent: Agent, devcloud: Devcloud, login: Callable[..., Any]
) -> None:
    bob = login(devcloud, "bob")
    theirs = bob.make_volume("bobs")
    refused = agent("backup", "--single-volume-id", theirs)
    assert refused.code == 1
    assert theirs in refused.error
    bob.remove("volume", theirs)


def test_a_volume_that_was_never_backed_up_cannot_be_restored(agent: Agent, volume: str) -> None:
    refused = agent("restore", "--single-volume-id", volume)
    assert (refused.code, refused.error) == (1, f"no snapshot of volume {volume}")
    assert "icebrick snapshots" in refused.hint


def test_a_wrong_password_of_the_cloud_is_told_without_it(
    agent: Agent, volume: str, clouds_with: Callable[..., None]
) -> None:
    clouds_with(lambda entry: entry["auth"].update(password="wrong-one"))
    refused = agent("backup", "--single-volume-id", volume)
    assert refused.code == 1
    assert "cannot log in to cloud alice" in refused.error
    assert "clouds.yaml" in refused.hint
    assert "wrong-one" not in refused.err


def test_an_unknown_cloud_is_named(agent: Agent, volume: str) -> None:
    refused = agent("backup", "--cloud", "nirvana", "--single-volume-id", volume)
    assert refused.code == 2
    assert "nirvana" in refused.error


@pytest.mark.parametrize("service", ["Keystone", "Cinder"])
def test_a_service_that_does_not_answer_is_told_with_its_address(
    agent: Agent, volume: str, clouds_with: Callable[..., None], service: str
) -> None:
    address = f"http://127.0.0.1:{closed_port()}/v3"

    def move(entry: Any) -> None:
        if service == "Keystone":
            entry["auth"]["auth_url"] = address
        else:
            entry["block_storage_endpoint_override"] = address

    clouds_with(move)
    refused = agent("backup", "--single-volume-id", volume)
    assert refused.code == 1
    assert address in refused.error
    assert "Connection refused" in refused.error


def test_a_reader_who_may_not_snapshot_is_told_so(agent: Agent, volume: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLOUD", "rita")
    refused = agent("backup", "--single-volume-id", volume)
    assert refused.code == 1
    assert f"cannot create a volume snapshot of volume {volume}" in refused.error
    assert "role" in refused.hint


# Where a restore goes


def test_a_target_that_exists_is_not_replaced(agent: Agent, stored: str, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    refused = agent("restore", "--snapshot", stored, "--target", target)
    assert (refused.code, refused.error) == (2, f"{target} exists already")
    assert "--force" in refused.hint
    assert target.read_text() == "precious"


def test_a_device_that_is_too_small_is_refused_and_not_written(
    agent: Agent, stored: str, tmp_path: Path, root: None
) -> None:
    backing = tmp_path / "small"
    backing.write_bytes(bytes(MIB - 512))
    with loop_device(backing) as device:
        refused = agent("restore", "--snapshot", stored, "--target", device, "--force")
    assert (refused.code, refused.error) == (2, f"device {device} has {MIB - 512} bytes, and the image needs {MIB}")
    assert backing.read_bytes() == bytes(MIB - 512)


def test_a_device_is_not_overwritten_unless_forced(agent: Agent, stored: str, tmp_path: Path, root: None) -> None:
    backing = tmp_path / "device"
    backing.write_bytes(bytes(2 * MIB))
    with loop_device(backing) as device:
        refused = agent("restore", "--snapshot", stored, "--target", device)
        assert (refused.code, refused.error) == (2, f"{device} is a device")
        assert "--force" in refused.hint
        agent.succeed("restore", "--snapshot", stored, "--target", device, "--force", "--verify")
    assert backing.read_bytes() == (tmp_path / "disk.raw").read_bytes() + bytes(MIB)


def test_a_mounted_device_is_refused_even_when_forced(agent: Agent, stored: str, tmp_path: Path, root: None) -> None:
    backing, folder = tmp_path / "device", tmp_path / "mounted"
    folder.mkdir()
    with backing.open("wb") as file:
        file.truncate(4 * MIB)
    subprocess.run(["mkfs.ext4", "-q", backing], check=True)
    with loop_device(backing) as device:
        subprocess.run(["mount", device, folder], check=True)
        try:
            refused = agent("restore", "--snapshot", stored, "--target", device, "--force")
        finally:
            subprocess.run(["umount", folder], check=True)
    assert (refused.code, refused.error) == (2, f"cannot open {device}: Device or resource busy")
    assert "mounted" in refused.hint
