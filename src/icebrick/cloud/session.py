"""Logging in: a cloud's name in clouds.yaml, or OS_* variables, to a Cloud."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from icebrick import __version__
from icebrick.cloud.api import RestApi
from icebrick.cloud.base import Cloud, Project
from icebrick.cloud.cinder import CinderCloud, Login
from icebrick.cloud.keys import BarbicanKeys
from icebrick.cloud.nova import NovaServers
from icebrick.cloud.translate import error_from_response, translated
from icebrick.cloud.wait import Pace, Waiter
from icebrick.encryption import Encryption, VolumeKey
from icebrick.errors import AccessForbiddenError, CloudError, UsageError
from icebrick.parallel import Stop

_LOG = logging.getLogger(__name__)

REQUEST_TIMEOUT = 120.0
"""Seconds for one request. Cinder itself gives a storage driver 60 to connect a volume."""

_BLOCK_STORAGE = "block-storage"
_COMPUTE = "compute"
_IDENTITY = "identity"
_KEY_MANAGER = "key-manager"
_ADMIN = "admin"
"""The role that Cinder's own policy takes for an administrator of all projects, whatever project it is in."""
_OLDEST = (3, 59)
"""The first microversion in which transfers are listed by pages; later than all else that is needed."""
_NEWEST = (3, 71)
"""The newest that was tested; a later one may change what a request means."""
_COMPUTE_OLDEST = (2, 1)
_COMPUTE_NEWEST = (2, 89)
"""Of Nova's, likewise. From 2.101 on attaching is another request."""


def connect(name: str | None = None, *, pace: Pace | None = None, stop: Stop | None = None) -> CinderCloud:
    """The cloud `name` of clouds.yaml; without a name, what OS_CLOUD or the other OS_* variables say.

    UsageError when that is not there or incomplete, AccessForbiddenError when the login is refused,
    CloudUnavailableError when Keystone or Cinder does not answer, CloudError when this Cinder is too old.
    """
    waiter = Waiter(pace, stop=stop)
    return waiter.retry(lambda: _connect(name, waiter))


def _connect(name: str | None, waiter: Waiter) -> CinderCloud:
    doing = f"log in to cloud {name}" if name else "log in to the cloud of the OS_* variables"
    with translated(doing), warnings.catch_warnings(action="ignore"):  # the SDK's, about parts of itself we do not use
        import openstack  # noqa: PLC0415 - half a second and 48 MB that only those who talk to a cloud pay

        connection = openstack.connect(cloud=name, app_name="icebrick", app_version=__version__)
    return _cloud(connection, doing, waiter)


def _cloud(connection: Any, doing: str, waiter: Waiter) -> CinderCloud:
    """What the connection is logged in to; closed by an error."""
    try:
        with translated(doing):
            if connection.session.timeout is None:
                connection.session.timeout = REQUEST_TIMEOUT
            access = connection.session.auth.get_access(connection.session)
            project = _project(access, doing)
            service = _service(connection, _BLOCK_STORAGE, "3")
            microversion = negotiated(*_microversions(service, doing))
    except BaseException:
        connection.close()
        raise
    _LOG.debug("logged in project=%s microversion=%s", project.id, microversion)

    @contextmanager
    def in_project(project_id: str) -> Iterator[Cloud]:
        with closing(waiter.retry(lambda: _rescoped(connection, access, project_id, waiter))) as cloud:
            yield cloud

    def find_servers(cloud: Cloud) -> NovaServers:
        return waiter.retry(lambda: _servers(connection, cloud, waiter))

    def list_projects() -> list[Project]:
        return waiter.retry(lambda: _projects(connection, waiter))

    def get_key(encryption: Encryption) -> VolumeKey:
        return BarbicanKeys(_service(connection, _KEY_MANAGER, "1"), waiter).get(encryption)

    admin = _ADMIN in access.role_names
    login = Login(project, admin, in_project, find_servers, list_projects, get_key, connection.close)
    return CinderCloud(RestApi(service, microversion, waiter), login, waiter)


def _rescoped(connection: Any, access: Any, project_id: str, waiter: Waiter) -> CinderCloud:
    doing = f"log in to project {project_id}"
    if access.application_credential_id is not None:
        raise AccessForbiddenError(
            f"cannot {doing}: an application credential is bound to its project",
            hint="Log in with a user's name and password to work in several projects.",
        )
    with translated(doing), warnings.catch_warnings(action="ignore"):  # as above
        scoped = connection.connect_as_project({"id": project_id})
    return _cloud(scoped, doing, waiter)


def _servers(connection: Any, cloud: Cloud, waiter: Waiter) -> NovaServers:
    doing = "find the compute service"
    with translated(doing):
        service = _service(connection, _COMPUTE, "2")
        _, newest = _microversions(service, doing)
    microversion = _dotted(min(newest or _COMPUTE_OLDEST, _COMPUTE_NEWEST))
    return NovaServers(RestApi(service, microversion, waiter), cloud, waiter)


def _projects(connection: Any, waiter: Waiter) -> list[Project]:
    doing = "list all projects"
    with translated(doing):
        service = _service(connection, _IDENTITY, "3")
    answer = RestApi(service, "", waiter).get("/projects", doing)
    if answer.get("truncated"):
        raise CloudError(f"cannot {doing}: Keystone tells only some", hint="Name one with --project-id.")
    return [Project(each["id"], each["name"]) for each in answer["projects"] if not each.get("is_domain")]


def _service(connection: Any, kind: str, major: str) -> Any:
    """The session bound to a service's endpoint, as the cloud's configuration wants it (region, interface, override).

    keystoneauth's plain adapter: the SDK's own warns of deprecated parts of itself at every request.
    """
    from keystoneauth1.adapter import Adapter  # noqa: PLC0415 - as above

    config = connection.config
    return Adapter(
        session=connection.session,
        service_type=config.get_service_type(kind),
        service_name=config.get_service_name(kind),
        interface=config.get_interface(kind),
        region_name=config.get_region_name(kind),
        endpoint_override=config.get_endpoint(kind),
        min_version=major,
        max_version=f"{major}.latest",
        raise_exc=False,
    )


def _microversions(service: Any, doing: str) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """The oldest and the newest, None where the service does not tell. Inside `translated`."""
    endpoint = service.get_endpoint_data()
    newest = getattr(endpoint, "max_microversion", None)
    if newest is None:
        # The discovery keeps to itself that nobody answered; the same request does not.
        response = service.get("/")
        if response.status_code >= 500:
            raise error_from_response(response.status_code, "", doing)
    return getattr(endpoint, "min_microversion", None), newest


def _project(access: Any, doing: str) -> Project:
    if access.project_id is None:
        hint = "Name a project in the cloud's entry in clouds.yaml, or in OS_PROJECT_NAME and OS_PROJECT_DOMAIN_NAME."
        raise AccessForbiddenError(f"cannot {doing}: the login is for no project", hint=hint)
    return Project(access.project_id, access.project_name)


def negotiated(oldest: tuple[int, int] | None, newest: tuple[int, int] | None) -> str:
    """The newest microversion that this Cinder and we both speak."""
    if newest is None:
        raise UsageError(
            "the block-storage service does not tell its microversions",
            hint="Check that the catalog's endpoint is version 3 of Cinder's API.",
        )
    if newest < _OLDEST or (oldest is not None and oldest > _NEWEST):
        raise CloudError(
            f"this Cinder speaks microversions up to {_dotted(newest)}, and {_dotted(_OLDEST)} is needed",
            hint="Icebrick needs Cinder of the Stein release or later.",
        )
    return _dotted(min(newest, _NEWEST))


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
