"""Faults that the volume driver makes on demand, and the log of its operations."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Literal

from icebrick.devcloud.layout import Layout, write_private
from icebrick.errors import DevcloudError

_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule for the driver's operations, such as create_snapshot, delete_volume or initialize_connection.

    It applies to operations named `operation` ("*": all) on resources whose id or name has a match of the regular
    expression `match`, `when` the operation begins or has ended; not to the first `skip` of those, and then only to
    the next `times` (0: all). Action "fail" makes the operation fail, "delay" makes it last `seconds` longer, "wait"
    holds it until the fault is released, at most `seconds`, "mistake" (of initialize_connection alone, in the driver of
    files) answers with the device of the volume `instead`. The count starts anew with every new fault.
    """

    operation: str = "*"
    action: Literal["fail", "delay", "wait", "mistake"] = "fail"
    match: str = ""
    when: Literal["before", "after"] = "before"
    seconds: float = 60.0
    skip: int = 0
    times: int = 0
    instead: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(4))


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of the operations log: an operation of the driver began, ended, failed or met a fault."""

    time: float  # seconds since the epoch
    operation: str
    phase: Literal["start", "end", "error", "fault"]
    id: str
    name: str
    fault: str = ""
    error: str = ""


def set_faults(layout: Layout, faults: Iterable[Fault]) -> None:
    """Replace all faults; operations that an earlier fault holds go on."""
    faults = tuple(faults)
    waiting = {fault.id for fault in faults if fault.action == "wait"}
    layout.holds.mkdir(exist_ok=True)
    for fault_id in waiting:
        (layout.holds / fault_id).touch()
    write_private(layout.faults, json.dumps([asdict(fault) for fault in faults]))
    for hold in layout.holds.iterdir():
        if hold.name not in waiting:
            hold.unlink(missing_ok=True)


def release(layout: Layout, fault: Fault) -> None:
    """Let go what the fault holds, and hold nothing more."""
    (layout.holds / fault.id).unlink(missing_ok=True)


def read_operations(layout: Layout) -> list[Operation]:
    """The log since the devcloud was made, oldest first."""
    try:
        text = layout.operations.read_text()
    except FileNotFoundError:
        return []
    whole = text[: text.rfind("\n") + 1]  # the last line may still be being written
    return [Operation(**json.loads(line)) for line in whole.splitlines()]


def wait_held(layout: Layout, fault: Fault, *, timeout: float) -> Operation:
    """Wait until an operation has met the fault; DevcloudError after `timeout` seconds."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        for operation in read_operations(layout):
            if operation.fault == fault.id:
                return operation
        time.sleep(_POLL_SECONDS)
    raise DevcloudError(f"no operation met fault {fault.id} ({fault.action} {fault.when} {fault.operation})")
