"""What a command of Icebrick's that ran in this process did."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> list[Any]:
        """The lines of standard output."""
        return [json.loads(line) for line in self.out.splitlines()]

    def record(self, message_type: str = "summary") -> dict[str, Any]:
        """The one line of that type."""
        (found,) = [line for line in self.json if line["message_type"] == message_type]
        return dict(found)

    @property
    def error(self) -> str:
        """The message that ended the command; it must have ended with an error, and not with a bug."""
        assert self.code != 0, self.out
        assert "Traceback" not in self.err
        *_, message = [line for line in self.err.splitlines() if line.startswith("icebrick: error: ")]
        return message.removeprefix("icebrick: error: ")

    @property
    def hint(self) -> str:
        """Empty when there is none."""
        return "".join(line.removeprefix("hint: ") for line in self.err.splitlines() if line.startswith("hint: "))
