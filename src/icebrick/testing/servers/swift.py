"""Swift with all its servers, and memcached: Swift's own protocol, and S3. Log-ins are Swift's own, or Keystone's.

Files lie on any file system that has extended attributes; nothing is mounted, and nothing is replicated.
"""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from icebrick.backend.location import Location
from icebrick.backend.options import BackendOptions
from icebrick.testing.servers.environment import need_in_environment
from icebrick.testing.servers.processes import HOST, Program, need_program
from icebrick.testing.servers.server import Place, StorageServer, reserved_ports, running

USER, PASSWORD = "test:tester", "testing"
CONTAINER, BUCKET = "icebrick", "icebrick-s3"
"""Both are containers: apart, so that places of one name are two."""
STORES = ("object", "container", "account")
_RING_SCRIPT = Path(__file__).with_name("swift_rings.py")

_DEFAULT = """\
[DEFAULT]
bind_ip = {host}
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
log_level = WARNING
"""
_STORE = """\
devices = {folder}/devices
mount_check = false

[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
"""
_PROXY = """\

[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats {auth} copy slo dlo proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:gatekeeper]
use = egg:swift#gatekeeper

[filter:cache]
use = egg:swift#memcache
memcache_servers = {host}:{memcached}

[filter:listing_formats]
use = egg:swift#listing_formats

[filter:s3api]
use = egg:swift#s3api
s3_acl = no
location = us-east-1
allow_no_owner = true

[filter:copy]
use = egg:swift#copy

[filter:slo]
use = egg:swift#slo

[filter:dlo]
use = egg:swift#dlo

"""
_TEMPAUTH = """\
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin http://{host}:{port}/v1/AUTH_test
"""
_KEYSTONE = """\
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {login.url}
auth_url = {login.url}
auth_type = password
username = {login.username}
password = {login.password}
project_name = {login.project}
project_domain_name = Default
user_domain_name = Default
delay_auth_decision = true
# Every request is asked about: a token that was revoked is refused at once.
token_cache_time = -1

[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin,member
"""


@dataclass(frozen=True, slots=True)
class KeystoneLogin:
    """As whom Swift asks a Keystone about tokens."""

    url: str
    username: str
    password: str
    project: str


@dataclass(frozen=True, slots=True)
class SwiftServer:
    """One server with two protocols; what is done to one of the two happens to both."""

    swift: StorageServer
    s3: StorageServer


@contextmanager
def serving(folder: Path) -> Iterator[SwiftServer]:
    """With log-ins of Swift's own."""
    with _running(folder, _swift_place) as server:
        port = server.port
        yield SwiftServer(server, server.speaking(lambda name: _s3_place(port, name)))


@contextmanager
def serving_keystone(folder: Path, login: KeystoneLogin, place: Callable[[int, str], Place]) -> Iterator[StorageServer]:
    """Swift's protocol, with log-ins of a Keystone. `place` gets Swift's port: the catalog is the caller's."""
    with _running(folder, place, login) as server:
        yield server


def _swift_place(port: int, name: str) -> Place:
    login = {"ST_AUTH": f"http://{HOST}:{port}/auth/v1.0", "ST_USER": USER, "ST_KEY": PASSWORD}
    return Place(Location("swift", f"{CONTAINER}:/{name}"), BackendOptions(environment=login))


def _s3_place(port: int, name: str) -> Place:
    login = {"AWS_ACCESS_KEY_ID": USER, "AWS_SECRET_ACCESS_KEY": PASSWORD, "AWS_DEFAULT_REGION": "us-east-1"}
    return Place(Location("s3", f"http://{HOST}:{port}/{BUCKET}/{name}"), BackendOptions(environment=login))


@contextmanager
def _running(
    folder: Path, place: Callable[[int, str], Place], login: KeystoneLogin | None = None
) -> Iterator[StorageServer]:
    (folder / "devices" / "one").mkdir(parents=True)
    with reserved_ports(5) as (proxy, memcached, *stores):
        _write_rings(folder, stores)
        for kind, port in zip(STORES, stores, strict=True):
            text = _DEFAULT + _STORE
            (folder / f"{kind}.conf").write_text(_filled(text, folder, port, kind=kind))
        auth = "authtoken keystoneauth" if login else "s3api tempauth"
        text = _DEFAULT + _PROXY + (_KEYSTONE if login else _TEMPAUTH)
        (folder / "proxy.conf").write_text(_filled(text, folder, proxy, memcached=memcached, auth=auth, login=login))
        programs = [
            Program(f"swift-{kind}", [need_in_environment(f"swift-{kind}-server"), str(folder / f"{kind}.conf")], port)
            for kind, port in (("proxy", proxy), *zip(STORES, stores, strict=True))
        ]
        programs.append(_memcached(memcached))
        with running(programs, folder, lambda name: place(proxy, name)) as server:
            yield server


def _filled(text: str, folder: Path, port: int, **values: object) -> str:
    return text.format(host=HOST, port=port, folder=folder, user=getpass.getuser(), **values)


def _memcached(port: int) -> Program:
    command = [need_program("memcached"), "-l", HOST, "-p", str(port), "-U", "0", "-m", "16", "-u", getpass.getuser()]
    return Program("memcached", command, port)


def _write_rings(folder: Path, ports: list[int]) -> None:
    """Who keeps what: one device, one copy."""
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = a\nswift_hash_path_prefix = b\n")
    rings = [f"{kind}={port}" for kind, port in zip(STORES, ports, strict=True)]
    # Isolated, as modules beside the script are not to be found in place of Swift's.
    subprocess.run([need_in_environment("python"), "-I", str(_RING_SCRIPT), str(folder), *rings], check=True)
