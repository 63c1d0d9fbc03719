"""The first content of a devcloud's Keystone, made through Keystone's own managers: no HTTP, no client."""

from __future__ import annotations

import uuid

from keystone.cmd import bootstrap
from keystone.common import provider_api

PROVIDERS = provider_api.ProviderAPIs
DOMAIN = "default"


def seed(content: dict) -> None:
    """Make the admin, the projects, the users with their roles, and the catalog.

    `content`: region, password, keystone_url, cinder_url, nova_url and barbican_url (or null),
    projects (names), users (name, role, project, member_of).
    """
    _bootstrap(content)
    roles = {role["name"]: role["id"] for role in PROVIDERS.role_api.list_roles()}
    projects = {name: _make_project(name) for name in content["projects"]}
    for user in content["users"]:
        made = PROVIDERS.identity_api.create_user(
            {"name": user["name"], "password": content["password"], "domain_id": DOMAIN, "enabled": True}
        )
        granted = [(user["project"], user["role"]), *((project, "member") for project in user["member_of"])]
        for project, role in granted:
            PROVIDERS.assignment_api.add_role_to_user_and_project(made["id"], projects[project], roles[role])
    _add_service("block-storage", "cinder", content["cinder_url"], content["region"])
    if content["nova_url"] is not None:
        _add_service("compute", "nova", content["nova_url"], content["region"])
    if content["barbican_url"] is not None:
        _add_service("key-manager", "barbican", content["barbican_url"], content["region"])


def _bootstrap(content: dict) -> None:
    """What `keystone-manage bootstrap` does: roles, the admin's account, Keystone's own catalog entry."""
    bootstrap.backends.load_backends = lambda: None  # the application has loaded them
    keystone = bootstrap.Bootstrapper()
    keystone.admin_username = keystone.project_name = keystone.admin_role_name = "admin"
    keystone.admin_password = content["password"]
    keystone.service_name = "keystone"
    keystone.service_id = None
    keystone.admin_url = keystone.public_url = keystone.internal_url = content["keystone_url"]
    keystone.region_id = content["region"]
    keystone.bootstrap()


def _make_project(name: str) -> str:
    project = {
        "id": uuid.uuid4().hex,
        "name": name,
        "domain_id": DOMAIN,
        "parent_id": DOMAIN,
        "enabled": True,
        "is_domain": False,
        "description": "",
    }
    PROVIDERS.resource_api.create_project(project["id"], project)
    return project["id"]


def _add_service(kind: str, name: str, url: str, region: str) -> None:
    service = {"id": uuid.uuid4().hex, "type": kind, "name": name, "enabled": True}
    PROVIDERS.catalog_api.create_service(service["id"], service)
    for interface in ("public", "internal", "admin"):
        endpoint = {
            "id": uuid.uuid4().hex,
            "interface": interface,
            "service_id": service["id"],
            "region_id": region,
            "url": url,
            "enabled": True,
        }
        PROVIDERS.catalog_api.create_endpoint(endpoint["id"], endpoint)
