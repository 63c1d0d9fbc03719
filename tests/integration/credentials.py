"""Application credentials: how members let an agent work for them."""

from __future__ import annotations

import secrets
import warnings
from contextlib import closing
from typing import Any

import yaml

from icebrick.devcloud.devcloud import Devcloud


def application_credential(devcloud: Devcloud, user: str, role: str) -> dict[str, Any]:
    """The entry of clouds.yaml to log in with a new one of the user, limited to one role."""
    auth = yaml.safe_load(devcloud.clouds_yaml.read_text())["clouds"][user]["auth"]
    with warnings.catch_warnings(action="ignore"):
        from keystoneauth1 import session  # noqa: PLC0415
        from keystoneauth1.identity import v3  # noqa: PLC0415
    opened = session.Session(v3.Password(**auth))
    with closing(opened.session):
        wanted = {"application_credential": {"name": secrets.token_hex(8), "roles": [{"name": role}]}}
        url = f"{auth['auth_url']}/users/{opened.get_user_id()}/application_credentials"
        made = opened.post(url, json=wanted).json()["application_credential"]
    return {
        "region_name": "RegionOne",
        "auth_type": "v3applicationcredential",
        "auth": {
            "auth_url": auth["auth_url"],
            "application_credential_id": made["id"],
            "application_credential_secret": made["secret"],
        },
    }
