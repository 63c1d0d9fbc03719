"""Options that can be said but are not served yet: refused, so that nothing is passed over in silence."""

from __future__ import annotations

from icebrick.errors import UsageError
from icebrick.workflow.request import BackupRequest, RestoreRequest
from icebrick.workflow.scope import ScopeKind


def refuse_backup(request: BackupRequest) -> None:
    _refuse(
        {
            "recreate-vol-on-error": request.recreate_on_error,
        }
    )


def refuse_restore(request: RestoreRequest) -> None:
    _refuse(
        {
            "consistency-groups": request.scope is not None and request.scope.kind is ScopeKind.GROUPS,
        }
    )


def _refuse(asked: dict[str, bool]) -> None:
    for what, applies in asked.items():
        if applies:
            raise UsageError(f"{what} is not served yet")
