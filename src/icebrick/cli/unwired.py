"""Options that can be said but are not served yet: refused, so that nothing is passed over in silence."""

from __future__ import annotations

from icebrick.engine.file.options import Overwrite
from icebrick.errors import UsageError
from icebrick.workflow.request import BackupRequest, RestoreRequest
from icebrick.workflow.scope import ScopeKind


def refuse_backup(request: BackupRequest) -> None:
    _refuse(
        {
            "recreate-vol-on-error": request.recreate_on_error,
            f"mode {request.mode}": request.mode != "blocks",
        }
    )


def refuse_restore(request: RestoreRequest) -> None:
    _refuse(
        {
            "a scope of several volumes": request.scope is not None and len(request.scope.ids) != 1,
            "consistency-groups": request.scope is not None and request.scope.kind is ScopeKind.GROUPS,
            "in-place": request.in_place,
            "recreate-vol-on-error": request.recreate_on_error,
            "remove-old-vol": request.remove_old,
            "overwrite": request.overwrite is not Overwrite.ALWAYS,
            "delete-extra": request.delete_extra,
            "to-cloud": request.to_cloud is not None,
            "to-project": request.to_project is not None,
            "map-type": bool(request.map_type),
            "map-az": bool(request.map_az),
        }
    )


def _refuse(asked: dict[str, bool]) -> None:
    for what, applies in asked.items():
        if applies:
            raise UsageError(f"{what} is not served yet")
