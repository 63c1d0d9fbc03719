"""The section [cinder-osbrick] and all that says the same, as what a backup or a restore is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from icebrick.config import options
from icebrick.config.option import Option
from icebrick.config.resolve import Resolved, Resolver, the_one_that_counts
from icebrick.engine.file.options import Overwrite
from icebrick.errors import UsageError
from icebrick.workflow.encryption import EncryptedVolumes
from icebrick.workflow.naming import BackupMode
from icebrick.workflow.request import BackupRequest, RestoreRequest
from icebrick.workflow.scope import Scope, ScopeKind
from icebrick.workflow.select import LATEST, Selection

T = TypeVar("T")

SCOPES: Mapping[ScopeKind, Option[bool] | Option[tuple[str, ...]]] = {
    ScopeKind.VOLUMES: options.SINGLE_VOLUME_ID,
    ScopeKind.PROJECT: options.ALL_TENANT_VOLUMES,
    ScopeKind.ALL_PROJECTS: options.ALL_TENANTS,
    ScopeKind.GROUPS: options.CONSISTENCY_GROUPS,
}


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What is to be done with volumes. `scope` is None when no source says one."""

    scope: Scope | None
    mode: BackupMode
    isolated: bool
    """Whether file systems are read in a virtual machine, and not by this host."""
    tags: tuple[str, ...]
    cold: bool
    recreate_vol_on_error: bool
    selection: Selection
    in_place: bool
    meta_override: bool
    remove_old_vol: bool
    yes: bool
    verify: bool
    overwrite: Overwrite
    delete_extra: bool
    parallel: int
    to_cloud: str | None
    to_project: str | None
    project_cloud: Mapping[str, str]
    map_type: Mapping[str, str]
    map_az: Mapping[str, str]
    encrypted_volumes: EncryptedVolumes
    drop_encryption: bool

    def backup_request(self) -> BackupRequest:
        """UsageError when it would contradict itself, or when there is no scope."""
        return BackupRequest(
            scope=self._scope(),
            mode=self.mode,
            isolated=self.isolated,
            tags=self.tags,
            cold=self.cold,
            encrypted=self.encrypted_volumes,
            recreate_on_error=self.recreate_vol_on_error,
        )

    def restore_request(self) -> RestoreRequest:
        """UsageError when it would contradict itself, or when there is neither a scope nor a snapshot's id."""
        return RestoreRequest(
            scope=None if self.selection.wanted != LATEST and self.scope is None else self._scope(),
            selection=self.selection,
            in_place=self.in_place,
            recreate_on_error=self.recreate_vol_on_error,
            meta_override=self.meta_override,
            remove_old=self.remove_old_vol,
            verify=self.verify or self.remove_old_vol,
            overwrite=self.overwrite,
            delete_extra=self.delete_extra,
            to_cloud=self.to_cloud,
            to_project=self.to_project,
            map_type=self.map_type,
            map_az=self.map_az,
            drop_encryption=self.drop_encryption,
        )

    def _scope(self) -> Scope:
        if self.scope is None:
            names = ", ".join(kind.value for kind in ScopeKind)
            raise UsageError(
                f"which volumes: expected exactly one of {names}",
                hint="Such as --single-volume-id ID; or, to restore, the --snapshot ID of one of its snapshots.",
            )
        return self.scope


def engine_settings(resolver: Resolver) -> EngineSettings:
    """Settle them. UsageError for what excludes each other."""

    def get(option: Option[T]) -> T:
        return resolver.get(option, options.ENGINE)

    get(options.OS_BRICK)
    snapshot = resolver.look_up(options.SNAPSHOT, options.ENGINE)
    return EngineSettings(
        scope=_scope(resolver, snapshot),
        mode=BackupMode(get(options.MODE)),
        isolated=get(options.READER) == "vm",
        tags=get(options.TAG),
        cold=get(options.COLD),
        recreate_vol_on_error=get(options.RECREATE),
        selection=_selection(resolver, snapshot),
        in_place=get(options.IN_PLACE),
        meta_override=get(options.META_OVERRIDE),
        remove_old_vol=get(options.REMOVE_OLD_VOL),
        yes=get(options.YES),
        verify=get(options.VERIFY),
        overwrite=Overwrite(get(options.OVERWRITE)),
        delete_extra=get(options.DELETE_EXTRA),
        parallel=get(options.PARALLEL),
        to_cloud=get(options.TO_CLOUD),
        to_project=get(options.TO_PROJECT),
        project_cloud=get(options.PROJECT_CLOUD),
        map_type=get(options.MAP_TYPE),
        map_az=get(options.MAP_AZ),
        encrypted_volumes=EncryptedVolumes(get(options.ENCRYPTED_VOLUMES)),
        drop_encryption=get(options.DROP_ENCRYPTION),
    )


def _scope(resolver: Resolver, snapshot: Resolved[str]) -> Scope | None:
    """Which counts: the file's may be for every night, and the command line's, or a snapshot's id, for once.

    So may the file's filters be; they are not in the way of volumes that are named once.
    """
    said = {kind: resolver.look_up(option, options.ENGINE) for kind, option in SCOPES.items()}
    filters = resolver.look_up(options.FILTER, options.ENGINE)
    excluded = resolver.look_up(options.EXCLUDE, options.ENGINE)
    chosen = the_one_that_counts(said.values())
    if chosen is None or (snapshot.value != LATEST and snapshot.rank < chosen.rank):
        return None
    kind = next(kind for kind, option in SCOPES.items() if option is chosen.option)
    ids = chosen.value if isinstance(chosen.value, tuple) else ()
    if kind is ScopeKind.VOLUMES and chosen.rank < min(filters.rank, excluded.rank):
        return Scope(kind, ids)
    return Scope(kind, ids, filters.value, excluded.value)


def _selection(resolver: Resolver, snapshot: Resolved[str]) -> Selection:
    date = resolver.look_up(options.RESTORE_FROM_DATE, options.ENGINE)
    chosen = the_one_that_counts((snapshot, date))
    if chosen is date:
        return Selection(not_after=date.value)
    return Selection(snapshot.value)
