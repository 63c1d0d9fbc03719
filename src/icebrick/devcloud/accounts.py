"""Who is in a devcloud's Keystone, and the clouds.yaml to log in with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from icebrick.devcloud.record import Record

REGION = "RegionOne"
PROJECTS = ("alpha", "beta", "gamma", "service")


@dataclass(frozen=True, slots=True)
class User:
    """A user with one role in one project. For Cinder, an admin of any project is an admin of the whole cloud."""

    name: str
    role: str
    project: str
    member_of: tuple[str, ...] = ()
    """Other projects; to be logged in to with a token of their own."""


USERS = (
    User("alice", "member", "alpha"),
    User("anna", "admin", "alpha"),
    User("rita", "reader", "alpha"),
    User("bob", "member", "beta"),
    User("bella", "admin", "beta"),
    User("rolf", "reader", "beta"),
    User("greta", "member", "gamma"),
    # The agent that backs up all projects; in one of which, beta, it could not work as a member.
    User("backup", "admin", "service", member_of=("alpha", "gamma")),
    User("cinder", "service", "service", member_of=("service",)),  # it keeps keys of volumes that are handed over
    User("barbican", "service", "service"),
    User("nova", "service", "service"),  # whose token lets a test end a server's attachment
)
ADMIN = User("admin", "admin", "admin")  # made by Keystone itself


def seed_content(record: Record) -> str:
    """What server/keystone_seed.py makes, as JSON."""
    content = {
        "region": REGION,
        "password": record.password.reveal(),
        "keystone_url": record.keystone_url,
        "cinder_url": record.cinder_url,
        "nova_url": record.nova_url,
        "barbican_url": record.barbican_url,
        "projects": PROJECTS,
        "users": [asdict(user) for user in USERS],
    }
    return json.dumps(content, indent=2)


def clouds_yaml(record: Record) -> str:
    """One cloud a user, named like the user."""
    return "clouds:\n" + "".join(_cloud(user, record) for user in (ADMIN, *USERS))


def _cloud(user: User, record: Record) -> str:
    return f"""\
  {user.name}:  # {user.role} of project {user.project}
    region_name: {REGION}
    identity_api_version: 3
    auth:
      auth_url: {record.keystone_url}
      username: {user.name}
      password: "{record.password.reveal()}"
      project_name: {user.project}
      user_domain_name: Default
      project_domain_name: Default
"""
