"""A group of a tenant's, for tests of whole workflows."""

from __future__ import annotations

from dataclasses import dataclass

from tests.integration.agent import Tenant, list_all


@dataclass(frozen=True, slots=True)
class TenantGroup:
    """Volumes that are frozen together."""

    tenant: Tenant
    id: str
    volume_type: str

    def add(self, name: str) -> str:
        return self.tenant.make(name, volume_type=self.volume_type, group_id=self.id)

    def members(self) -> set[str]:
        return members(self.tenant, self.id)

    def remove(self) -> None:
        """With its volumes."""
        remove_group(self.tenant, self.id)


def make_group(tenant: Tenant, name: str, group_type: str = "consistent") -> TenantGroup:
    types = {each["name"]: each["id"] for each in list_all(tenant.api, "/group_types")}
    volume_type = tenant.api.get("/types/default")["id"]
    made = tenant.api.make("group", group_type=types[group_type], volume_types=[volume_type], name=name)
    return TenantGroup(tenant, made, volume_type)


def groups_of(tenant: Tenant) -> set[str]:
    return {group["id"] for group in list_all(tenant.api, "/groups")}


def members(tenant: Tenant, group_id: str) -> set[str]:
    return set(tenant.api.get(f"/groups/{group_id}?list_volume=True")["volumes"])


def remove_group(tenant: Tenant, group_id: str) -> None:
    volumes = members(tenant, group_id)
    body = {"delete": {"delete-volumes": True}}
    assert tenant.api.request("POST", f"/groups/{group_id}/action", body)[0] == 202
    tenant.api.wait_gone(f"/groups/{group_id}")
    tenant.volumes.difference_update(volumes)
