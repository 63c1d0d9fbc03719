"""Options that can be said but are not served yet: refused, so that nothing is passed over in silence."""

from __future__ import annotations

from icebrick.errors import UsageError
from icebrick.workflow.request import BackupRequest


def refuse_backup(request: BackupRequest) -> None:
    _refuse(
        {
            "recreate-vol-on-error": request.recreate_on_error,
        }
    )


def _refuse(asked: dict[str, bool]) -> None:
    for what, applies in asked.items():
        if applies:
            raise UsageError(f"{what} is not served yet")
