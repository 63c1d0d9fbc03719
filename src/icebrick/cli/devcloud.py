"""icebrick devcloud up, down, status, env"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import click

from icebrick.cli.command import LazyGroup, command
from icebrick.cli.invocation import this_invocation
from icebrick.cli.output import Output, size_text
from icebrick.devcloud.accounts import ADMIN, USERS
from icebrick.devcloud.devcloud import Devcloud, Status
from icebrick.devcloud.record import Export, FileSystem, Settings, Storage
from icebrick.errors import DevcloudError, UsageError

DEFAULT_DIRECTORY = Path("/var/tmp/icebrick-devcloud")  # noqa: S108 - up checks that it is nobody else's

GROUP_EXAMPLES = """
icebrick devcloud up
eval "$(icebrick devcloud env)"
icebrick devcloud status
icebrick devcloud down
"""
UP_EXAMPLES = """
icebrick devcloud up
icebrick devcloud up --dir /var/tmp/second --fs xfs
icebrick devcloud up --foreground --export file
icebrick devcloud up --dir /var/tmp/third --compute
"""
DOWN_EXAMPLES = """
icebrick devcloud down
icebrick devcloud down --keep
"""
STATUS_EXAMPLES = """
icebrick devcloud status
icebrick devcloud status --json
"""
ENV_EXAMPLES = """
eval "$(icebrick devcloud env)"
eval "$(icebrick devcloud env --user backup)"
"""

_COMMANDS = {
    "up": (__name__, "Start it, or what of it is not running."),
    "down": (__name__, "End it and remove all it has made."),
    "status": (__name__, "Show its processes, devices and volumes."),
    "env": (__name__, "Print the variables to log in with."),
}

_directory = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    envvar="ICEBRICK_DEVCLOUD_DIR",
    default=DEFAULT_DIRECTORY,
    help=f"Where all of it is. Default: {DEFAULT_DIRECTORY}. [$ICEBRICK_DEVCLOUD_DIR]",
)
_environment = click.option(
    "--venv",
    type=click.Path(path_type=Path),
    envvar="ICEBRICK_DEVCLOUD_VENV",
    help="The virtual environment for Cinder and Keystone. Default: ~/.cache/icebrick/devcloud. "
    "[$ICEBRICK_DEVCLOUD_VENV]",
)


def _settings_options(function: Callable[..., None]) -> Callable[..., None]:
    options = (
        click.option(
            "--storage", type=click.Choice(get_args(Storage)), help="Volumes are files, or LVM's, over iSCSI."
        ),
        click.option("--fs", type=click.Choice(get_args(FileSystem)), help="The volumes' file system. Default: btrfs."),
        click.option("--export", type=click.Choice(get_args(Export)), help="What a host sees. Default: loop."),
        click.option("--keystone-port", type=click.IntRange(0, 65535), help="Default: any free port."),
        click.option("--cinder-port", type=click.IntRange(0, 65535), help="Default: any free port."),
        click.option("--compute", is_flag=True, default=None, help="Nova too, with servers that run nothing."),
        click.option(
            "--key-manager", is_flag=True, default=None, help="Barbican too, and encrypted volume types luks and luks2."
        ),
        click.option("--debug", is_flag=True, default=None, help="Let the servers log in detail."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.group("devcloud", cls=LazyGroup, commands_in=_COMMANDS, examples=GROUP_EXAMPLES)
def devcloud() -> None:
    """Run a small but real Keystone and Cinder on this host, to try things out. Needs root."""


@command("up", examples=UP_EXAMPLES)
@_directory
@_environment
@_settings_options
@click.option("--foreground", is_flag=True, help="Stay, and take it down at Ctrl-C; its servers die with this process.")
def up(directory: Path, venv: Path | None, foreground: bool, **chosen: Any) -> None:
    """Start a devcloud, or what of it is not running, and return when it answers."""
    cloud = Devcloud(directory, environment=venv)
    settings = _settings(**chosen)
    invocation = this_invocation()
    with _taken_down(cloud) if foreground else nullcontext():
        _show_ready(invocation.output, cloud, cloud.up(settings, owned=foreground, progress=invocation.progress))
        if foreground:
            raise DevcloudError(f"{cloud.wait()} of the devcloud in {cloud.layout.directory} has ended")


@contextmanager
def _taken_down(cloud: Devcloud) -> Iterator[None]:
    """Take it down at the end, which Ctrl-C is: the way to end a devcloud in the foreground is no error."""
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        cloud.down()


def _settings(fs: FileSystem | None, **chosen: Any) -> Settings | None:
    """None when nothing was chosen: then a devcloud that exists may be what it is."""
    given = {key: value for key, value in {"filesystem": fs, **chosen}.items() if value is not None}
    return Settings(**given) if given else None


@command("down", examples=DOWN_EXAMPLES)
@_directory
@click.option("--keep", is_flag=True, help="Keep the directory and its volumes for the next 'up'.")
def down(directory: Path, keep: bool) -> None:
    """End the servers, unmount, detach, and remove the directory. Where nothing is, nothing happens."""
    invocation = this_invocation()
    Devcloud(directory).down(keep=keep)
    invocation.output.say(f"devcloud {directory} is down")


@command("status", examples=STATUS_EXAMPLES)
@_directory
def status(directory: Path) -> None:
    """Show what a devcloud has on this host: processes, loop devices, mounts, volumes."""
    invocation = this_invocation()
    found = Devcloud(directory).status()
    invocation.output.result(_status_text(found), _status_record(found))


@command("env", examples=ENV_EXAMPLES)
@_directory
@click.option("--user", default="alice", help="Who to log in as. Default: alice, a member of project alpha.")
def env(directory: Path, user: str) -> None:
    """Print the shell's lines that let OpenStack clients and icebrick use the devcloud."""
    names = [each.name for each in (ADMIN, *USERS)]
    if user not in names:
        raise UsageError(f"no user {user} in a devcloud", hint=f"There are {', '.join(names)}.")
    cloud = Devcloud(directory)
    invocation = this_invocation()
    if not cloud.status().running:
        raise DevcloudError(
            f"no devcloud is running in {cloud.layout.directory}", hint="Start it with 'icebrick devcloud up'."
        )
    variables = {"OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml), "OS_CLOUD": user}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    invocation.output.result("\n".join(lines), variables)


def _show_ready(output: Output, cloud: Devcloud, status: Status) -> None:
    assert status.record is not None, "up has returned"
    users = ", ".join(f"{user.name} ({user.role} of {user.project})" for user in USERS if user.role != "service")
    text = f"""\
devcloud {status.directory} is up
  Keystone     {status.record.keystone_url}
  Cinder       {status.record.cinder_url}
  Nova         {status.record.nova_url or "none"}
  clouds.yaml  {cloud.clouds_yaml}
  users        {users}"""
    output.result(text, {"message_type": "devcloud", "clouds_yaml": str(cloud.clouds_yaml), **_status_record(status)})


def _status_record(status: Status) -> dict[str, Any]:
    record = status.record
    return {
        "directory": str(status.directory),
        "running": status.running,
        "keystone_url": record.keystone_url if record else None,
        "cinder_url": record.cinder_url if record else None,
        "nova_url": record.nova_url if record else None,
        "processes": [asdict(server) for server in status.servers],
        "loops": [asdict(loop) for loop in status.loops],
        "mounts": [asdict(mount) for mount in status.mounts],
        "files": sorted(status.footprint.files),
        "connections": sorted(status.footprint.connections),
    }


def _status_text(status: Status) -> str:
    if status.record is None:
        return f"no devcloud in {status.directory}"
    return "\n".join(
        [
            f"devcloud {status.directory} is {'up' if status.running else 'not running'}",
            *(f"  {each.name} pid {each.pid}, {size_text(each.memory)} of memory" for each in status.servers),
            *(f"  loop device {each.device} of {each.file}" for each in status.loops),
            *(f"  mount {each.path} of {each.device}" for each in status.mounts),
            *(f"  {name}" for name in sorted(status.footprint.files | status.footprint.connections)),
        ]
    )
