"""The driver's operations log, and faults on demand around each operation.

`faults.json` and `ops.jsonl` are written and read on the other side by icebrick.devcloud.faults, which
describes their fields.
"""

from __future__ import annotations

import functools
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from cinder import exception

_POLL_SECONDS = 0.02
_MISTAKE = "mistake"


class FaultInjected(exception.VolumeBackendAPIException):
    """What a fault of action "fail" raises in the driver."""

    message = "%(data)s"


class Operations:
    """The log and the faults of one driver; all methods may be called from any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()  # guards the log file and _hits
        self._hits: Counter[str] = Counter()

    def record(self, operation: str, phase: str, subject: dict, **more: str) -> None:
        line = json.dumps({"time": time.time(), "operation": operation, "phase": phase, **subject, **more})
        with self._lock, (self._directory / "ops.jsonl").open("a") as log:
            log.write(f"{line}\n")

    def apply_faults(self, operation: str, when: str, subject: dict) -> None:
        for fault in self._faults():
            if fault["action"] == _MISTAKE:
                continue
            if _applies(fault, operation, when, subject) and self._is_due(fault):
                self.record(operation, "fault", subject, fault=fault["id"])
                self._act(fault, f"{when} {operation}")

    def mistaken(self, operation: str, resource) -> str:
        """The id of the volume that the operation is to take for `resource`; empty when it is to take it for itself."""
        subject = _subject((resource,))
        for fault in self._faults():
            if fault["action"] == _MISTAKE and _applies(fault, operation, "before", subject) and self._is_due(fault):
                self.record(operation, "fault", subject, fault=fault["id"])
                return fault["instead"]
        return ""

    def _faults(self) -> list[dict]:
        try:
            return json.loads((self._directory / "faults.json").read_text())
        except FileNotFoundError:
            return []

    def _is_due(self, fault: dict) -> bool:
        with self._lock:
            self._hits[fault["id"]] += 1
            hit = self._hits[fault["id"]]
        first, times = fault["skip"] + 1, fault["times"]
        return hit >= first and (times == 0 or hit < first + times)

    def _act(self, fault: dict, where: str) -> None:
        if fault["action"] == "fail":
            raise FaultInjected(data=f"injected fault {where}")
        if fault["action"] == "delay":
            time.sleep(fault["seconds"])
            return
        hold = self._directory / "holds" / fault["id"]
        end = time.monotonic() + fault["seconds"]
        while hold.exists() and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)


def _applies(fault: dict, operation: str, when: str, subject: dict) -> bool:
    if fault["operation"] not in ("*", operation) or fault["when"] != when:
        return False
    return any(text and re.search(fault["match"], text) for text in subject.values())


def operation(method: Callable) -> Callable:
    """Log a driver's method, its errors too, and apply the faults before and after it."""
    name = method.__name__

    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        subject = _subject(args)
        operations: Operations = self.operations
        operations.record(name, "start", subject)
        try:
            operations.apply_faults(name, "before", subject)
            result = method(self, *args, **kwargs)
            operations.apply_faults(name, "after", subject)
        except BaseException as error:
            operations.record(name, "error", subject, error=repr(error)[:300])
            raise
        operations.record(name, "end", subject)
        return result

    return wrapper


def _subject(args: tuple) -> dict:
    """Id and name of the first argument that is a resource; a context has no id."""
    resource = next(arg for arg in args if getattr(arg, "id", None))
    name = getattr(resource, "display_name", None) or getattr(resource, "name", None)
    return {"id": resource.id, "name": name or ""}
