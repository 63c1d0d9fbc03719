"""Logging in to Swift: where it stores, and the token that opens it.

Who logs in is told as to restic: ST_AUTH, ST_USER and ST_KEY for Swift's own accounts; OS_STORAGE_URL and OS_AUTH_TOKEN
for what was logged in already; OS_AUTH_URL and the other OS_* variables for Keystone. Besides, -o swift.cloud=NAME or
OS_CLOUD take a cloud of clouds.yaml.
"""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from icebrick.backend.http.client import ANSWER_SECONDS, HttpClient, Request, connection_error, http_settings
from icebrick.backend.http.status import check, error_of_status, number_of, printable
from icebrick.backend.options import BackendOptions
from icebrick.errors import AccessDeniedError, BackendError, BackendUnavailableError, UsageError

_HINT = "Set OS_AUTH_URL and the other OS_* variables, or ST_AUTH, ST_USER and ST_KEY, or -o swift.cloud=NAME."
_CATALOG_HINT = "Check OS_REGION_NAME and OS_INTERFACE; the catalog must have an object-store."
_DOING = "log in to Swift"
_MARGIN = 120.0  # seconds before its end that a token is not used for anything any more
_SERVICE = "object-store"


@dataclass(frozen=True, slots=True)
class Access:
    """The account's URL, without a slash at its end, and a token for it, good for so many `seconds` from its start."""

    url: str
    token: str = field(repr=False)
    seconds: float = math.inf


class SwiftLogin:
    """Asks `log_in` when it is first needed, before a token's end, and when one was refused. For any number of threads.

    `forget` is called before it is asked again.
    """

    def __init__(
        self,
        log_in: Callable[[], Access],
        forget: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log_in = log_in
        self._forget = forget
        self._clock = clock
        self._access: Access | None = None
        self._until = 0.0  # on the clock: when it is time for another
        self._lock = threading.Lock()  # guards the two above, and lets all wait for the one that logs in

    def access(self) -> Access:
        with self._lock:
            if self._access is None or self._clock() >= self._until:
                return self._renew()
            return self._access

    def renewed(self, refused: Access) -> Access:
        """Another than the one that was refused; what another thread has got meanwhile is fine."""
        with self._lock:
            if self._access is None or self._access.token == refused.token:
                return self._renew()
            return self._access

    def _renew(self) -> Access:
        # In time: a server that refuses a token in the middle of a big file only breaks the connection.
        if self._access is not None:
            self._forget()
        self._access = self._log_in()
        seconds = self._access.seconds
        self._until = self._clock() + max(seconds / 2, seconds - _MARGIN)
        return self._access


@dataclass(frozen=True, slots=True)
class SwiftAccount:
    """How its servers are reached, and the way in."""

    client: HttpClient
    login: SwiftLogin


def swift_account(options: BackendOptions, cloud: str | None, connections: int) -> SwiftAccount:
    """By the first of the ways that something is said of; UsageError when nothing is. Nobody is asked yet."""
    environment = options.environment
    if cloud is None and environment.get("ST_AUTH"):
        client = HttpClient(http_settings(options, connections))
        return SwiftAccount(client, SwiftLogin(lambda: _own_access(client, environment)))
    if cloud is None and environment.get("OS_STORAGE_URL") and environment.get("OS_AUTH_TOKEN"):
        access = Access(environment["OS_STORAGE_URL"].rstrip("/"), environment["OS_AUTH_TOKEN"])
        return SwiftAccount(HttpClient(http_settings(options, connections)), SwiftLogin(lambda: access))
    if cloud is None and environment.get("OS_AUTH_URL"):
        keystone = _keystone_of_variables(options)
    elif cloud or environment.get("OS_CLOUD"):
        keystone = _keystone_of_cloud(cloud or environment["OS_CLOUD"], options)
    else:
        raise UsageError("nothing says how to log in to Swift", hint=_HINT)
    # What is said of Keystone's certificate, in an openrc file or in clouds.yaml, is meant for the whole cloud.
    trusted = keystone.session.verify
    told = replace(options, ca_file=Path(trusted)) if isinstance(trusted, str) else options
    login = SwiftLogin(keystone.access, keystone.session.invalidate)
    return SwiftAccount(HttpClient(http_settings(told, connections)), login)


@dataclass(frozen=True, slots=True)
class _Keystone:
    """A session of the library's, and which of the catalog's endpoints is meant; `url` is used instead, if given."""

    session: Any
    region: str | None
    interface: str
    url: str | None

    def access(self) -> Access:
        with _translated():
            token = self.session.get_token()
            seconds = _seconds_left(self.session)
            url = self.url or self.session.get_endpoint(
                service_type=_SERVICE, interface=self.interface, region_name=self.region
            )
        if not url or not token:
            raise BackendError(f"cannot {_DOING}: the catalog has no address of it", hint=_CATALOG_HINT)
        return Access(url.rstrip("/"), token, seconds)


def _own_access(client: HttpClient, environment: Mapping[str, str]) -> Access:
    """Swift's first protocol: one request, answered in headers."""
    login = {"X-Auth-User": environment.get("ST_USER", ""), "X-Auth-Key": environment.get("ST_KEY", "")}
    answer = client.send(Request("GET", environment["ST_AUTH"], _DOING), login)
    check(answer, _DOING)
    url, token = answer.headers.get("X-Storage-Url"), answer.headers.get("X-Auth-Token")
    if not url or not token:
        raise BackendError(f"cannot {_DOING}: the answer names no account", hint="Check ST_AUTH.")
    seconds = number_of(answer.headers.get("X-Auth-Token-Expires"))
    return Access(url.rstrip("/"), token, math.inf if seconds is None else float(seconds))


def _keystone_of_variables(options: BackendOptions) -> _Keystone:
    from keystoneauth1 import loading  # noqa: PLC0415
    from keystoneauth1.session import Session  # noqa: PLC0415

    environment = options.environment
    with _translated():
        loader = loading.get_plugin_loader(_kind(environment))
        plugin = loader.load_from_options(**_values(loader, environment))
    certificate = options.client_certificate
    session = Session(
        auth=plugin,
        verify=str(options.ca_file or environment.get("OS_CACERT") or "") or True,
        cert=None if certificate is None else str(certificate),
        timeout=ANSWER_SECONDS,
    )
    interface = environment.get("OS_INTERFACE") or environment.get("OS_ENDPOINT_TYPE") or "public"
    return _Keystone(
        session, environment.get("OS_REGION_NAME"), interface.removesuffix("URL"), environment.get("OS_STORAGE_URL")
    )


def _keystone_of_cloud(name: str, options: BackendOptions) -> _Keystone:
    from openstack.config import OpenStackConfig  # noqa: PLC0415
    from openstack.exceptions import ConfigException  # noqa: PLC0415

    try:
        with _translated(), warnings.catch_warnings(action="ignore"):  # the SDK's, about parts that are not used
            cloud = OpenStackConfig().get_one(cloud=name)
            session = cloud.get_session()
    except ConfigException as error:
        raise UsageError(f"cannot {_DOING}: {error}", hint="Check clouds.yaml.") from error
    session.timeout = session.timeout or ANSWER_SECONDS
    if options.ca_file is not None:
        session.verify = str(options.ca_file)
    interface = cloud.get_interface(_SERVICE) or "public"
    return _Keystone(session, cloud.get_region_name(_SERVICE), interface, cloud.get_endpoint(_SERVICE))


def _seconds_left(session: Any) -> float:
    """Of the session's token; not every kind of login tells."""
    get_access = getattr(session.auth, "get_access", None)
    expires = None if get_access is None else get_access(session).expires
    return math.inf if expires is None else (expires - datetime.now(UTC)).total_seconds()


def _kind(environment: Mapping[str, str]) -> str:
    """Of login, by the library's names."""
    if environment.get("OS_AUTH_TYPE"):
        return environment["OS_AUTH_TYPE"]
    if environment.get("OS_APPLICATION_CREDENTIAL_ID") or environment.get("OS_APPLICATION_CREDENTIAL_NAME"):
        return "v3applicationcredential"
    return "password"


def _values(loader: Any, environment: Mapping[str, str]) -> dict[str, str]:
    """What the variables say of each option, by any name that it has."""
    values: dict[str, str] = {}
    for option in loader.get_options():
        names = [option.dest, *(old.dest for old in option.deprecated)]
        told = [environment[f"OS_{name.upper()}"] for name in names if environment.get(f"OS_{name.upper()}")]
        if told:
            values[option.dest] = told[0]
        elif option.dest == "default_domain_id" and not environment.get("OS_DEFAULT_DOMAIN_NAME"):
            values[option.dest] = "default"
    if _kind(environment).startswith("v3") and "/v3" not in values.get("auth_url", "/v3"):
        values["auth_url"] = values["auth_url"].rstrip("/") + "/v3"  # these log in without asking for versions
    return values


@contextmanager
def _translated() -> Iterator[None]:
    """The library's errors become ours."""
    from keystoneauth1 import exceptions as theirs  # noqa: PLC0415

    try:
        yield
    except (theirs.MissingRequiredOptions, theirs.AuthPluginException) as error:
        raise UsageError(f"cannot {_DOING}: {_text(error)}", hint=_HINT) from error
    except (theirs.Unauthorized, theirs.AuthorizationFailure, theirs.MissingAuthMethods) as error:
        raise AccessDeniedError(f"cannot {_DOING}: {_text(error)}", hint=_HINT) from error
    except theirs.EndpointNotFound as error:
        raise BackendError(f"cannot {_DOING}: {_text(error)}", hint=_CATALOG_HINT) from error
    except theirs.HttpError as error:
        headers = getattr(error.response, "headers", {})
        raise error_of_status(error.http_status, _DOING, detail=_text(error), headers=headers) from error
    except theirs.ConnectionError as error:
        raise connection_error(error, _DOING) from error
    except theirs.DiscoveryFailure as error:
        raise BackendUnavailableError(f"cannot {_DOING}: {_text(error)}") from error
    except theirs.ClientException as error:
        raise BackendError(f"cannot {_DOING}: {_text(error)}") from error


def _text(error: Exception) -> str:
    return printable(str(error).strip().partition("\n")[0].rstrip(".")) or type(error).__name__
