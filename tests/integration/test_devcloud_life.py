"""How devclouds begin and end, also by kill -9: whatever happened, `down` leaves nothing on the host."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from icebrick.devcloud import host
from icebrick.devcloud.devcloud import Devcloud
from icebrick.devcloud.record import Settings
from icebrick.errors import DevcloudError, UsageError

OWNER = """
import sys
from pathlib import Path
from icebrick.devcloud.devcloud import Devcloud
Devcloud(Path(sys.argv[1]), environment=Path(sys.argv[2])).up(owned=True)
print("up", flush=True)
sys.stdin.read()
"""
pytestmark = pytest.mark.slow

STEPS = ("devcloud.json", "clouds.yaml", "pool.img", "pool/volumes", "keystone.db", "keystone.seeded")


@pytest.fixture
def own(devcloud_folder: Path, devcloud_environment: Path) -> Iterator[Devcloud]:
    """A devcloud for this test alone, not up yet; it must leave nothing."""
    cloud = Devcloud(devcloud_folder / "own", environment=devcloud_environment)
    yield cloud
    cloud.down()
    assert_nothing_left(cloud)


@pytest.fixture(scope="module")
def lasting(devcloud_folder: Path, devcloud_environment: Path) -> Iterator[Devcloud]:
    """A devcloud that is up for all tests that leave it so, with what they found in it."""
    cloud = Devcloud(devcloud_folder / "lasting", environment=devcloud_environment)
    cloud.up(owned=True)
    yield cloud
    cloud.down()
    assert_nothing_left(cloud)


def assert_nothing_left(cloud: Devcloud) -> None:
    status = cloud.status()
    assert (status.servers, status.loops, status.mounts) == ((), (), ())
    assert not cloud.layout.directory.exists()


@pytest.fixture
def owner(own: Devcloud, devcloud_environment: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that makes `own` and then waits."""
    command = [sys.executable, "-c", OWNER, str(own.layout.directory), str(devcloud_environment)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def ended(pids: list[int]) -> bool:
    """Whether all these processes end within ten seconds."""
    handles = []
    for pid in pids:
        try:
            handles.append(os.pidfd_open(pid))
        except ProcessLookupError:
            continue
    result = all(select.select([handle], [], [], 10)[0] for handle in handles)
    for handle in handles:
        os.close(handle)
    return result


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def attached_volume(cloud: Devcloud, login: Callable[..., Any]) -> tuple[str, str]:
    """The volume's id and its device; neither is cleaned up."""
    alice = login(cloud, "alice")
    volume = alice.make_volume("kept")
    return volume, alice.attach(volume)[1]


def test_two_devclouds_at_once_are_apart(
    devcloud_folder: Path, devcloud_environment: Path, login: Callable[..., Any]
) -> None:
    clouds = [Devcloud(devcloud_folder / name, environment=devcloud_environment) for name in ("one", "two")]
    with ThreadPoolExecutor(2) as pool:
        records = [each.record for each in pool.map(lambda cloud: cloud.up(owned=True), clouds)]
    try:
        login(clouds[0], "alice").make_volume()
        assert login(clouds[1], "alice").get("/volumes") == []
        assert records[0] and records[1] and records[0].password != records[1].password
    finally:
        for cloud in clouds:
            cloud.down()
    for cloud in clouds:
        assert_nothing_left(cloud)


def test_up_twice_is_up_once(lasting: Devcloud) -> None:
    first = lasting.status()
    assert [each.pid for each in lasting.up(owned=True).servers] == [each.pid for each in first.servers]


def test_two_ups_of_one_directory_make_one_devcloud(own: Devcloud) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: own.up(owned=True), range(2))
    assert first.record == second.record
    assert len(own.status().servers) == 2


@pytest.mark.parametrize("server", ["keystone", "cinder"])
def test_a_server_that_was_killed_comes_back_with_all_volumes(
    lasting: Devcloud, login: Callable[..., Any], server: str
) -> None:
    before = lasting.status().record
    volume = login(lasting, "alice").make_volume("kept")
    lasting.stop(server, kill=True)
    assert not lasting.status().running
    assert lasting.up(owned=True).record == before
    alice = login(lasting, "alice")
    assert alice.get(f"/volumes/{volume}")["name"] == "kept"
    alice.remove("volume", volume)


def test_a_snapshot_that_died_half_way_leaves_no_file(lasting: Devcloud, login: Callable[..., Any]) -> None:
    alice = login(lasting, "alice")
    volume = alice.make_volume()
    part = lasting.layout.pool / "snapshots" / "snapshot-x.part"
    part.touch()
    lasting.stop("cinder", kill=True)
    lasting.up(owned=True)
    assert lasting.footprint().files == {f"volumes/volume-{volume}"}
    login(lasting, "alice").remove("volume", volume)


def test_a_group_snapshot_leaves_only_its_snapshots(lasting: Devcloud, login: Callable[..., Any]) -> None:
    alice = login(lasting, "alice")
    group_type = next(each["id"] for each in alice.get("/group_types") if each["name"] == "consistent")
    volume_type = alice.get("/types/default")["id"]
    group = alice.make("group", group_type=group_type, volume_types=[volume_type], name="pair")
    volumes = [alice.make_volume(volume_type=volume_type, group_id=group) for _ in range(2)]
    taken = alice.make("group_snapshot", group_id=group)
    assert len([name for name in lasting.footprint().files if name.startswith("snapshots/")]) == 2
    assert sorted(path.name for path in lasting.layout.pool.iterdir()) == ["snapshots", "volumes"]
    assert lasting.layout.pool.joinpath("volumes").stat().st_ino == 256, "a subvolume: it was frozen as one"
    alice.remove("group_snapshot", taken)
    assert alice.request("POST", f"/groups/{group}/action", {"delete": {"delete-volumes": True}})[0] == 202
    for volume in volumes:
        alice.wait_gone(f"/volumes/{volume}")


def test_a_devcloud_keeps_the_settings_it_was_made_with(lasting: Devcloud) -> None:
    with pytest.raises(UsageError, match="other settings"):
        lasting.up(Settings(filesystem="xfs"))


def test_a_devcloud_that_was_kept_has_its_volumes_again(lasting: Devcloud, login: Callable[..., Any]) -> None:
    volume = login(lasting, "alice").make_volume("kept")
    lasting.down(keep=True)
    assert (lasting.status().servers, lasting.status().loops, lasting.status().mounts) == ((), (), ())
    lasting.up(owned=True)
    alice = login(lasting, "alice")
    assert alice.get(f"/volumes/{volume}")["status"] == "available"
    alice.remove("volume", volume)


def test_down_after_a_killed_server_leaves_nothing(own: Devcloud, login: Callable[..., Any]) -> None:
    own.up(owned=True)
    attached_volume(own, login)
    own.stop("cinder", kill=True)
    own.down()
    assert_nothing_left(own)


def test_servers_end_when_their_owner_is_killed_and_down_leaves_nothing(
    own: Devcloud, owner: subprocess.Popen[str], login: Callable[..., Any], tmp_path: Path
) -> None:
    assert owner.stdout and owner.stdout.readline() == "up\n"
    device = attached_volume(own, login)[1]
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    subprocess.run(["mount", device, str(tmp_path)], check=True)
    servers = [each.pid for each in own.status().servers]
    owner.kill()
    assert ended(servers)
    own.down()
    assert_nothing_left(own)


@pytest.mark.parametrize("step", STEPS)
def test_an_up_that_was_killed_can_be_taken_down(own: Devcloud, owner: subprocess.Popen[str], step: str) -> None:
    wait_for((own.layout.directory / step).exists)
    owner.kill()
    owner.wait()
    own.down()
    assert_nothing_left(own)


@pytest.mark.parametrize("step", STEPS[2::2])
def test_an_up_that_was_killed_can_be_repeated(
    own: Devcloud, owner: subprocess.Popen[str], login: Callable[..., Any], step: str
) -> None:
    wait_for((own.layout.directory / step).exists)
    owner.kill()
    owner.wait()
    own.up(owned=True)
    assert login(own, "alice").get("/volumes") == []


@pytest.mark.parametrize("filesystem", ["none", "xfs"])
def test_other_file_systems_copy_volumes_too(
    own: Devcloud,
    login: Callable[..., Any],
    require: Callable[[str, Any, str], None],
    filesystem: Any,
) -> None:
    require("xfs", filesystem != "xfs" or shutil.which("mkfs.xfs"), "no mkfs.xfs on the PATH")
    own.up(Settings(filesystem=filesystem), owned=True)
    alice = login(own, "alice")
    volume, device = attached_volume(own, login)
    with Path(device).open("r+b") as source:
        source.write(b"content")
    snapshot = alice.make("snapshot", volume_id=volume)
    clone = alice.make_volume(snapshot_id=snapshot)
    with Path(alice.attach(clone)[1]).open("rb") as copied:
        assert copied.read(7) == b"content"


def test_files_instead_of_loop_devices(own: Devcloud, login: Callable[..., Any]) -> None:
    own.up(Settings(filesystem="none", export="file"), owned=True)
    volume, path = attached_volume(own, login)
    assert path == str(own.layout.pool / "volumes" / f"volume-{volume}")
    assert Path(path).is_file()
    assert own.status().loops == ()


def test_down_refuses_while_a_volume_is_in_use_and_then_works(
    own: Devcloud, login: Callable[..., Any], tmp_path: Path
) -> None:
    own.up(owned=True)
    device = attached_volume(own, login)[1]
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    subprocess.run(["mount", device, str(tmp_path)], check=True)
    with (tmp_path / "open").open("w"), pytest.raises(DevcloudError, match=f"umount {tmp_path} failed"):
        own.down()
    assert own.layout.record.exists()
    own.down()
    assert_nothing_left(own)


def test_without_the_tools_nothing_is_made(own: Devcloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DevcloudError, match="program losetup is missing"):
        own.up()
    assert not own.layout.directory.exists()


def test_down_where_nothing_is_does_nothing(own: Devcloud) -> None:
    own.down()
    own.down()
    assert_nothing_left(own)


def test_a_foreign_directory_is_neither_used_nor_removed(own: Devcloud) -> None:
    own.layout.directory.mkdir()
    foreign = own.layout.directory / "thesis.txt"
    foreign.touch()
    for act in (own.up, own.down):
        with pytest.raises(UsageError, match="not a devcloud"):
            act()
    foreign.unlink()


def test_a_directory_that_others_can_write_to_is_not_used(own: Devcloud) -> None:
    own.layout.directory.mkdir()
    own.layout.directory.chmod(0o777)
    with pytest.raises(DevcloudError, match="written by others"):
        own.up()
    own.layout.directory.chmod(0o700)


def test_a_port_that_is_taken_is_an_error_that_names_it(own: Devcloud, session_devcloud: Devcloud) -> None:
    record = session_devcloud.status().record
    assert record
    with pytest.raises(DevcloudError, match=f"127.0.0.1:{record.cinder_port}"):
        own.up(Settings(cinder_port=record.cinder_port))


def test_a_server_that_cannot_start_says_why_and_nothing_keeps_running(
    own: Devcloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icebrick.devcloud.devcloud.keystone_conf", lambda *_: "[database]\nconnection = nosuch://\n")
    with pytest.raises(DevcloudError, match=r"keystone of the devcloud in .* did not start: .+") as caught:
        own.up(owned=True)
    assert caught.value.hint and "keystone.log" in caught.value.hint
    assert (own.status().servers, own.status().loops) == ((), ())


def test_the_command_brings_one_up_shows_it_and_takes_it_down(own: Devcloud, devcloud_environment: Path) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-c", "from icebrick.cli.main import main; main()", "devcloud", *arguments]
        place = {
            "ICEBRICK_DEVCLOUD_DIR": str(own.layout.directory),
            "ICEBRICK_DEVCLOUD_VENV": str(devcloud_environment),
        }
        return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **place}).stdout

    assert json.loads(run("up", "--json", "--fs", "none").splitlines()[-1])["running"] is True
    assert f"export OS_CLIENT_CONFIG_FILE={own.clouds_yaml}\nexport OS_CLOUD=bob\n" == run("env", "--user", "bob")
    assert "is up" in run("status")
    run("down")
    assert "no devcloud" in run("status")
    assert_nothing_left(own)


def test_the_foreground_command_cleans_up_at_its_end(own: Devcloud, devcloud_environment: Path) -> None:
    command = [sys.executable, "-c", "from icebrick.cli.main import main; main()", "devcloud", "up", "--foreground"]
    command += ["--dir", str(own.layout.directory), "--venv", str(devcloud_environment)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and "is up" in process.stdout.readline()
        process.terminate()
        assert process.wait(60) == 0
    assert_nothing_left(own)


def test_loop_devices_of_a_directory_with_the_same_beginning_are_not_ours(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    (tmp_path / "cloud2").mkdir()
    (tmp_path / "cloud2" / "image").write_bytes(bytes(1 << 20))
    command = ["losetup", "--find", "--show", str(tmp_path / "cloud2" / "image")]
    device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        assert host.find_loops(tmp_path / "cloud") == ()
        assert [loop.device for loop in host.find_loops(tmp_path / "cloud2")] == [device]
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
