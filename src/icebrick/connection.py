"""What Cinder and os-brick tell each other through us. We carry it; only `attach` looks inside, to doubt it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ConnectorProperties:
    """What this host tells Cinder about itself: initiator names, addresses, host name."""

    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """What Cinder answers: how to reach the volume. May hold CHAP secrets, hence not shown."""

    driver_volume_type: str
    data: Mapping[str, object] = field(repr=False)
    volume_id: str = ""
    """Of the volume that was asked for, whatever the data says; empty when nobody knows."""
