"""A whole devcloud: made, looked at and removed by its directory."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from icebrick.devcloud import faults as fault_files
from icebrick.devcloud import host, processes
from icebrick.devcloud.accounts import clouds_yaml, seed_content
from icebrick.devcloud.conffiles import barbican_conf, cinder_conf, keystone_conf, nova_conf, placement_conf
from icebrick.devcloud.environment import default_environment, prepare_environment
from icebrick.devcloud.faults import Fault, Operation
from icebrick.devcloud.iscsi import find_connections, release_connections
from icebrick.devcloud.layout import Layout, layout_of, write_private
from icebrick.devcloud.locking import locked_directory
from icebrick.devcloud.lvm import close_volume_group, device_of, find_logical_volumes, open_volume_group
from icebrick.devcloud.record import ProcessId, Record, Settings, find_record, save_record
from icebrick.errors import DevcloudError, UsageError
from icebrick.progress import NO_PROGRESS, Progress
from icebrick.secret import Secret

START_SECONDS = 300.0
_PORT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """What volumes leave on this host, whatever Cinder's database says.

    `files` are those of volumes and volume snapshots, relative to the pool, or logical volumes. `loops` and `mounts`
    are of volumes only. `connections` is what iSCSI has of them, in words.
    """

    files: frozenset[str] = frozenset()
    loops: frozenset[host.LoopDevice] = frozenset()
    mounts: frozenset[host.Mount] = frozenset()
    connections: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.files or self.loops or self.mounts or self.connections)

    def __sub__(self, other: Footprint) -> Footprint:
        return Footprint(
            self.files - other.files,
            self.loops - other.loops,
            self.mounts - other.mounts,
            self.connections - other.connections,
        )


NOTHING = Footprint()


@dataclass(frozen=True, slots=True)
class Status:
    """How a devcloud is now. Without a record there is none in the directory."""

    directory: Path
    record: Record | None
    servers: tuple[processes.ServerProcess, ...]
    loops: tuple[host.LoopDevice, ...]
    mounts: tuple[host.Mount, ...]
    footprint: Footprint

    @property
    def running(self) -> bool:
        running = {server.name for server in self.servers}
        return self.record is not None and running == processes.servers_of(self.record.settings)


class Devcloud:
    """The devcloud in `directory`, which need not exist yet. Needs root: it mounts and makes loop devices.

    `environment` is the folder of the virtual environment for Cinder and Keystone. Two processes may use one
    devcloud: `up` and `down` wait for each other.
    """

    def __init__(self, directory: Path, *, environment: Path | None = None) -> None:
        self.layout: Layout = layout_of(directory)
        self._environment = (environment or default_environment()).expanduser().absolute()
        self._children: list[subprocess.Popen[bytes]] = []  # ours to reap

    @property
    def clouds_yaml(self) -> Path:
        """The file for OS_CLIENT_CONFIG_FILE; its clouds are named like their users, such as alice."""
        return self.layout.clouds

    def up(self, settings: Settings | None = None, *, owned: bool = False, progress: Progress = NO_PROGRESS) -> Status:
        """Start what is not running and return when all answers.

        A devcloud that exists keeps its settings, its ports and its volumes. With `owned`, the servers end when
        this process ends, however it ends. When `up` fails nothing runs, and the directory has the logs.
        """
        if os.geteuid() != 0:
            raise DevcloudError("a devcloud needs root: it mounts and makes loop devices")
        known = find_record(self.layout)
        _check_tools(known.settings if known else settings or Settings())
        python = prepare_environment(self._environment, progress)
        with locked_directory(self.layout.directory):
            record = find_record(self.layout)
            if record is None:
                _refuse_foreign(self.layout)
            elif settings not in (None, record.settings):
                raise UsageError(
                    f"the devcloud in {self.layout.directory} was made with other settings",
                    hint="Remove it first with 'icebrick devcloud down'.",
                )
            if not self.status().running or _lost_its_owner(record):
                with progress.task("start the servers"):
                    self._start(record, settings or Settings(), python, processes.this_process() if owned else None)
        return self.status()

    def _start(self, record: Record | None, settings: Settings, python: Path, owner: ProcessId | None) -> None:
        settings = record.settings if record else settings
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as sockets:
            undo.callback(self._release)
            self._end_servers()  # one of them may still run
            wanted = {
                processes.KEYSTONE: record.keystone_port if record else settings.keystone_port,
                processes.CINDER: record.cinder_port if record else settings.cinder_port,
                processes.NOVA: (record.nova_port if record else None) or 0,
                processes.BARBICAN: (record.barbican_port if record else None) or 0,
            }
            names = processes.servers_of(settings)
            listeners = {name: sockets.enter_context(_listen(port)) for name, port in wanted.items() if name in names}
            ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
            record = Record(
                settings=settings,
                keystone_port=ports[processes.KEYSTONE],
                cinder_port=ports[processes.CINDER],
                nova_port=ports.get(processes.NOVA),
                barbican_port=ports.get(processes.BARBICAN),
                password=record.password if record else Secret(secrets.token_urlsafe(18)),
                owner=owner,
            )
            save_record(self.layout, record)  # before anything else is made: `down` removes only what has one
            self._write_files(record)
            self._open_storage(settings)
            self._start_servers(listeners, python, owner)
            undo.pop_all()

    def _open_storage(self, settings: Settings) -> None:
        if settings.storage == "lvm":
            open_volume_group(self.layout, settings)
        else:
            host.mount_pool(self.layout, settings)

    def _write_files(self, record: Record) -> None:
        texts = {
            processes.KEYSTONE: keystone_conf(self.layout, record),
            processes.CINDER: cinder_conf(self.layout, record, self._environment),
        }
        if record.settings.compute:
            texts[processes.NOVA] = nova_conf(self.layout, record, self._environment)
            texts["placement"] = placement_conf(self.layout)
        if record.settings.key_manager:
            texts[processes.BARBICAN] = barbican_conf(self.layout, record)
        for server, text in texts.items():
            write_private(self.layout.config(server), text)
        write_private(self.layout.seed, seed_content(record))
        write_private(self.layout.clouds, clouds_yaml(record))
        for server in (processes.CINDER, processes.NOVA):
            (self.layout.directory / server / "locks").mkdir(parents=True, exist_ok=True)

    def _start_servers(self, listeners: dict[str, socket.socket], python: Path, owner: ProcessId | None) -> None:
        with contextlib.ExitStack() as pipes:
            started = []
            for name, listener in listeners.items():
                server = processes.start_server(name, self.layout, python, listener, owner)
                pipes.callback(os.close, server.ready)
                self._children.append(server.process)
                started.append(server)
            processes.wait_ready(started, self.layout, timeout=START_SECONDS)

    def wait(self) -> str:
        """Wait until one of the running servers ends; its name."""
        return processes.wait_ended(self.layout.directory)

    def down(self, *, keep: bool = False) -> None:
        """End the servers, unmount, detach, and remove the directory; with `keep` it and the volumes stay for `up`.

        Works after any of the processes was killed, and where nothing is. DevcloudError if a volume is still in use.
        """
        if not self.layout.directory.exists():
            return
        with locked_directory(self.layout.directory):
            if not self.layout.record.exists():
                _refuse_foreign(self.layout)
            self._release()
            if not keep:
                _remove(self.layout)

    def stop(self, server: str, *, kill: bool = False) -> None:
        """End one server, such as "keystone"; with `kill` as by kill -9. `up` starts it again."""
        processes.stop_servers(self.layout.directory, [server], kill=kill)
        self._reap()

    def _end_servers(self) -> None:
        processes.stop_servers(self.layout.directory)
        processes.wait_all_ended(self.layout)
        self._reap()

    def _release(self) -> None:
        self._end_servers()
        release_connections(self.layout.directory)
        close_volume_group(self.layout.directory)
        host.release_all(self.layout.directory)

    def _reap(self) -> None:
        self._children = [child for child in self._children if child.poll() is None]

    def status(self) -> Status:
        directory = self.layout.directory
        return Status(
            directory=directory,
            record=find_record(self.layout),
            servers=processes.find_servers(directory),
            loops=host.find_loops(directory),
            mounts=host.find_mounts(directory),
            footprint=self.footprint(),
        )

    def footprint(self) -> Footprint:
        """What volumes and volume snapshots hold on this host now."""
        directory, pool = self.layout.directory, self.layout.pool
        record = find_record(self.layout)
        if record is not None and record.settings.storage == "lvm":
            return Footprint(files=find_logical_volumes(directory), connections=find_connections(directory))
        return Footprint(
            files=frozenset(str(path.relative_to(pool)) for path in pool.glob("*/*")),
            loops=frozenset(host.find_loops(pool)),
            mounts=frozenset(mount for mount in host.find_mounts(pool) if mount.path != str(pool)),
        )

    def volume_path(self, volume_id: str) -> Path:
        """What the storage holds of the volume: a file, or in LVM a device."""
        name = f"volume-{volume_id}"
        record = find_record(self.layout)
        if record is not None and record.settings.storage == "lvm":
            return device_of(self.layout.directory, name)
        return self.layout.pool / "volumes" / name

    def leaks(self, before: Footprint = NOTHING) -> Footprint:
        """What is there now and was not there `before`: false if there is nothing."""
        return self.footprint() - before

    def set_faults(self, *faults: Fault) -> None:
        """Replace all faults of the volume driver; with none, all is well again."""
        fault_files.set_faults(self.layout, faults)

    def release(self, fault: Fault) -> None:
        """Let go the operations that a fault of action "wait" holds."""
        fault_files.release(self.layout, fault)

    def wait_held(self, fault: Fault, *, timeout: float = 60.0) -> Operation:
        """Wait until an operation has met `fault`."""
        return fault_files.wait_held(self.layout, fault, timeout=timeout)

    def ops(self) -> list[Operation]:
        """What the volume driver has done, oldest first."""
        return fault_files.read_operations(self.layout)


def _lost_its_owner(record: Record | None) -> bool:
    """Whether the owner is gone; then the servers are ending, if they have not yet."""
    owner = record.owner if record else None
    return owner is not None and processes.process_id(owner.pid) != owner


def _check_tools(settings: Settings) -> None:
    for tool in host.needed_tools(settings):
        if shutil.which(tool) is None:
            raise DevcloudError(
                f"program {tool} is missing", hint="On Debian it is in util-linux, xfsprogs, btrfs-progs or coreutils."
            )


def _listen(port: int) -> socket.socket:
    """A listening socket, made here and inherited by the server: so no other process can take the port between."""
    end = time.monotonic() + _PORT_SECONDS
    while True:
        try:
            return socket.create_server(("127.0.0.1", port), backlog=128)
        except OSError as error:
            # The server before us on this port may have ended a moment ago.
            if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                raise DevcloudError(f"cannot listen on 127.0.0.1:{port}: {os.strerror(error.errno or 0)}") from error
        time.sleep(0.02)


def _refuse_foreign(layout: Layout) -> None:
    """Without a record the directory is somebody else's, unless it is as good as empty."""
    ours = {layout.record.with_name(f"{layout.record.name}.part")}
    if set(layout.directory.iterdir()) - ours:
        raise UsageError(
            f"directory {layout.directory} is not empty and not a devcloud",
            hint="Name another directory with --dir.",
        )


def _remove(layout: Layout) -> None:
    """Remove the directory, its record last: dying half-way leaves what the next `down` knows as a devcloud."""
    for path in layout.directory.iterdir():
        if path == layout.record:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    layout.record.unlink(missing_ok=True)
    layout.directory.rmdir()
