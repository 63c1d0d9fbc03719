"""Nova as one user sees it: servers for tests."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

WAIT_SECONDS = 60


@dataclass(frozen=True)
class Compute:
    """Nova's HTTP interface."""

    adapter: Any

    def request(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.adapter.request(path, method, json=body, raise_exc=False, microversion="2.89")
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def start_server(self, root_volume_id: str, name: str = "server") -> str:
        """A server that starts from the volume, which must be bootable; its id, when it is active."""
        disk = {"boot_index": 0, "uuid": root_volume_id, "source_type": "volume", "destination_type": "volume"}
        server = {"name": name, "flavorRef": "1", "networks": "none", "block_device_mapping_v2": [disk]}
        server_id: str = self.request("POST", "/servers", {"server": server})["server"]["id"]
        self._wait(server_id, {"ACTIVE"})
        return server_id

    def act(self, server_id: str, action: str) -> None:
        """An action without arguments, such as lock or shelve."""
        self.request("POST", f"/servers/{server_id}/action", {action: None})

    def shelve(self, server_id: str) -> None:
        """Take the server off its host."""
        self.act(server_id, "shelve")
        self._wait(server_id, {"SHELVED_OFFLOADED"})

    def unshelve(self, server_id: str) -> None:
        self.act(server_id, "unshelve")
        self._wait(server_id, {"ACTIVE"})

    def delete_server(self, server_id: str) -> None:
        self.request("DELETE", f"/servers/{server_id}")
        self._wait(server_id, {None})

    def _wait(self, server_id: str, wanted: set[str | None]) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while (found := self._status(server_id)) not in wanted:
            assert found != "ERROR", self.request("GET", f"/servers/{server_id}")
            assert time.monotonic() < end, f"server {server_id} is {found}"
            time.sleep(0.05)

    def _status(self, server_id: str) -> str | None:
        answer = self.adapter.get(f"/servers/{server_id}", raise_exc=False)
        return None if answer.status_code == 404 else answer.json()["server"]["status"]
