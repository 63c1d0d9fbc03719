"""os-brick, and all that it drags along, behind the Connector protocol. Nothing else imports any of it.

os-brick forces oslo.config's process-wide CONF on its users; it is set up here, once, at the first use.
It takes locks of its own where connections of one host exclude each other (threads, and processes through files
below the state directory), so nothing here is serialised but the set-up.
"""

from __future__ import annotations

import functools
import logging
import os
import socket
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icebrick.attach.base import Connector, HostDevice
from icebrick.attach.claims import Claims
from icebrick.attach.device import open_attached, open_device_source, open_device_target, open_host_device
from icebrick.attach.identity import check_device
from icebrick.attach.luks import close_mapping, has_header, wipe_header
from icebrick.attach.mappings import Mappings
from icebrick.attach.named import addresses_of, check_volume
from icebrick.attach.spawning import start_commands_lightly
from icebrick.blockdev import BlockSource, BlockTarget
from icebrick.connection import ConnectionInfo, ConnectorProperties
from icebrick.encryption import VolumeKey
from icebrick.errors import AttachError, NotEncryptedError

_LOG = logging.getLogger(__name__)

_ROOT_HELPER = "sudo"
_LOCAL = "local"
_SCAN_ATTEMPTS = 5
_CHATTY = ("os_brick", "oslo_concurrency", "oslo_privsep", "oslo.privsep", "oslo_service", "stevedore")
"""Loggers that tell commands and connection data at DEBUG, CHAP secrets among them, and tracebacks at ERROR."""
_HINT = (
    "os-brick needs root and the storage protocol's tools on this host, such as iscsiadm, multipath or nvme; for what "
    "is in encrypted volumes cryptsetup and dm-crypt, without which --encrypted-volumes as-stored backs them up."
)


@dataclass(frozen=True, slots=True)
class BrickSettings:
    """How this host attaches volumes."""

    state_dir: Path
    """os-brick's lock files go below it; every process of this host that attaches volumes should name the same."""
    ip: str | None = None
    """The address this host gives to Cinder; found by its name when None."""
    multipath: bool = False
    """Use all paths to a volume, through multipathd."""
    enforce_multipath: bool = False
    """Fail where multipathd does not run, instead of going on with one path."""


class BrickConnector(Connector):
    """Attaches what Cinder exports by any protocol that os-brick knows and that makes a block device."""

    def __init__(self, settings: BrickSettings) -> None:
        self._settings = settings
        self._mappings = Mappings(settings.state_dir / "decrypted")
        self._claims = Claims(settings.state_dir / "connections.lock")

    def properties(self) -> ConnectorProperties:
        with _brick(self._settings) as library:
            told: Mapping[str, object] = library.connector.get_connector_properties(
                _ROOT_HELPER,
                self._settings.ip or _own_address(),
                self._settings.multipath,
                self._settings.enforce_multipath,
            )
        return ConnectorProperties(dict(told))

    @contextmanager
    def open_source(
        self, info: ConnectionInfo, *, size: int, direct: bool = False, key: VolumeKey | None = None
    ) -> Iterator[BlockSource]:
        with (
            self._found(info, size, key) as found,
            open_device_source(found.path, size=found.size, is_file=found.is_file, direct=direct) as source,
        ):
            yield source

    @contextmanager
    def open_target(self, info: ConnectionInfo, *, size: int, key: VolumeKey | None = None) -> Iterator[BlockTarget]:
        with (
            self._found(info, size, key) as found,
            open_device_target(found.path, size=found.size, is_file=found.is_file) as target,
        ):
            yield target

    @contextmanager
    def open_device(self, info: ConnectionInfo, *, size: int, key: VolumeKey | None = None) -> Iterator[HostDevice]:
        with (
            self._found(info, size, key) as found,
            open_host_device(found.path, size=found.size, is_file=found.is_file) as device,
        ):
            yield device

    def encrypt(self, info: ConnectionInfo, *, size: int, key: VolumeKey) -> None:
        with self._connected(info, size) as path:
            with open_device_target(path, size=size) as target:
                wipe_header(target)
            with self._decrypted(path, key):
                _LOG.info("encrypted device=%s provider=%s", path, key.encryption.provider)

    def disconnect(self, info: ConnectionInfo) -> None:
        with _brick(self._settings) as library:
            self._mappings.close_dead(close_mapping)  # first: it holds the device
            if self._claims.taken(addresses_of(info)):  # of another connection, which this one is not to take away
                _LOG.warning("left as it is, another connection uses it: device of volume=%s", info.volume_id)
                return
            connector = self._connector(library, info)
            connector.disconnect_volume(_connection_data(info), None, force=True, ignore_errors=True)

    @contextmanager
    def _found(self, info: ConnectionInfo, size: int, key: VolumeKey | None) -> Iterator[_Found]:
        """What is to be opened, which goes with the block."""
        with self._connected(info, size) as path:
            if key is None:
                yield _Found(path, size, is_file=_may_be_file(info, path))
                return
            with open_device_source(path, size=size) as stored:
                if not has_header(stored):
                    raise NotEncryptedError(f"device {path} should hold an encrypted volume, and has no LUKS header")
            with self._decrypted(path, key) as inside:
                yield _Found(inside, 0, is_file=False)

    @contextmanager
    def _decrypted(self, path: str, key: VolumeKey) -> Iterator[str]:
        """The path of the decrypted device. Of a device without a header, os-brick makes an encrypted one."""
        device = os.path.realpath(path)
        with self._mappings.claimed(device) as link:
            encryptor = self._encryptor(link, key)
            with ExitStack() as undo:
                undo.callback(close_mapping, encryptor.dev_name)
                with _brick(self._settings):
                    encryptor.attach_volume(None, cipher=key.encryption.cipher, key_size=key.encryption.key_size)
                yield f"/dev/mapper/{encryptor.dev_name}"

    def _encryptor(self, link: Path, key: VolumeKey) -> Any:
        """os-brick's own, which is told no more of the connection than what it turns to the decrypted device."""
        encryption = key.encryption
        with _brick(self._settings) as library:
            return library.encryptors.get_volume_encryptor(
                _ROOT_HELPER,
                {"driver_volume_type": _LOCAL, "data": {"device_path": str(link)}},
                _HeldKey(key),
                control_location="front-end",
                provider=encryption.provider,
                encryption_key_id=encryption.key_id,
            )

    @contextmanager
    def _connected(self, info: ConnectionInfo, size: int) -> Iterator[str]:
        """The path of the volume's device, which goes with the block; it is this volume's, and nobody else has it."""
        check_volume(info)
        with (
            self._claims.held(addresses_of(info)),
            self._device(info) as path,
            self._identified(path, info, size) as real,
        ):
            yield real

    @contextmanager
    def _identified(self, path: str, info: ConnectionInfo, size: int) -> Iterator[str]:
        """The device's own name, which stays its own while it is held open."""
        with (
            open_attached(path, is_file=_may_be_file(info, path)) as opened,
            self._claims.held([check_device(opened.fd, info, size)]),
        ):
            yield opened.path

    @contextmanager
    def _device(self, info: ConnectionInfo) -> Iterator[str]:
        """The path of what os-brick makes of the connection."""
        connection_data = _connection_data(info)
        with _brick(self._settings) as library:
            connector = self._connector(library, info)
            device = connector.connect_volume(connection_data)
        done = False
        try:
            yield _path_of(device)
            done = True
        finally:
            self._disconnect(connector, connection_data, device, quietly=not done)

    def _disconnect(self, connector: Any, connection_data: dict[str, object], device: Any, *, quietly: bool) -> None:
        """`quietly` after an error, which must not be hidden by one that follows from it."""
        try:
            with _brick(self._settings):
                connector.disconnect_volume(connection_data, device)
        except AttachError as error:
            if not quietly:
                raise
            _LOG.warning("cannot disconnect device=%s error=%s", device.get("path"), error)

    def _connector(self, library: _Library, info: ConnectionInfo) -> Any:
        return library.connector.InitiatorConnector.factory(
            info.driver_volume_type,
            _ROOT_HELPER,
            use_multipath=self._settings.multipath,
            device_scan_attempts=_SCAN_ATTEMPTS,
            do_local_attach=True,  # Ceph: a block device by krbd, not a Python object on librbd
            conn=_connection_data(info),
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """A device and the least size it must have."""

    path: str
    size: int
    is_file: bool


class _HeldKey:
    """A key manager, and the one key that it has: what os-brick's encryptors ask."""

    def __init__(self, key: VolumeKey) -> None:
        self._passphrase = key.passphrase

    def get(self, context: object, key_id: str) -> _HeldKey:
        return self

    def managed_type(self) -> str:
        return "passphrase"

    def get_encoded(self) -> bytes:
        return self._passphrase.reveal().encode()


@dataclass(frozen=True, slots=True)
class _Library:
    """The imported modules, untyped as they are."""

    connector: Any
    encryptors: Any
    errors: tuple[type[Exception], ...]


_set_up = threading.Lock()
"""Guards `_load`, which must run once: what it sets up is one for the whole process."""


@contextmanager
def _brick(settings: BrickSettings) -> Iterator[_Library]:
    """os-brick, ready for use; its errors, and those of a connection it cannot make sense of, as AttachError."""
    with _set_up:
        library = _load(settings.state_dir)
    try:
        yield library
    except library.errors as error:
        raise AttachError(f"os-brick failed: {reason_of(error)}", hint=_HINT) from error


@functools.cache
def _load(state_dir: Path) -> _Library:
    """Takes most of a second and 60 MB the first time, hence not at the top of the file."""
    with warnings.catch_warnings(action="ignore"):  # eventlet's, which os-brick's dependencies still import
        from os_brick import encryptors, exception, setup  # noqa: PLC0415
        from os_brick.initiator import connector  # noqa: PLC0415
        from oslo_concurrency import processutils  # noqa: PLC0415
        from oslo_config import cfg  # noqa: PLC0415

        locks = state_dir / "brick-locks"
        cfg.CONF([], project="icebrick", default_config_files=[], default_config_dirs=[])
        locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        cfg.CONF.set_override("lock_path", str(locks), group="oslo_concurrency")
        setup(cfg.CONF)
    start_commands_lightly()
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.INFO if _LOG.isEnabledFor(logging.DEBUG) else logging.CRITICAL)
    if os.geteuid() == 0:
        _call_in_process()
    known = (exception.BrickException, processutils.ProcessExecutionError, OSError, ValueError, KeyError)
    return _Library(connector, encryptors, known)


def _call_in_process() -> None:
    """Root needs no privileged helper process, which would be started through sudo."""
    from os_brick import privileged  # noqa: PLC0415

    privileged.default.set_client_mode(False)
    privileged.brick_privsep_hide_output.set_client_mode(False)


def _connection_data(info: ConnectionInfo) -> dict[str, object]:
    """A copy, as os-brick writes into it; not told of encryption, for which it would make links and leave them."""
    return {**info.data, "driver_volume_type": info.driver_volume_type, "encrypted": False}


def _path_of(device: Mapping[str, object]) -> str:
    path = device.get("path")
    if isinstance(path, bytes):
        return os.fsdecode(path)
    if not isinstance(path, str):
        raise AttachError(f"os-brick made no block device but a {type(path).__name__}")
    return path


def _may_be_file(info: ConnectionInfo, path: str) -> bool:
    """Only storage that Cinder says is local, and only the very file that it names."""
    return info.driver_volume_type == _LOCAL and info.data.get("device_path") == path


def _own_address() -> str:
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"


def reason_of(error: Exception) -> str:
    """In one line. Never the command, which may hold a CHAP secret: the program, its exit code, what it said first."""
    said = getattr(error, "stderr", None) or getattr(error, "description", None) or str(error)
    first = next(iter(str(said).strip().splitlines()), "").rstrip(".") or type(error).__name__
    command = getattr(error, "cmd", None)
    return f"{command.split()[0]} ended with {error.exit_code}: {first}" if command else first  # type: ignore[attr-defined]
