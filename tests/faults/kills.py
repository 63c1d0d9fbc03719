"""What is killed, and where: at every step of a command, and inside every operation of Cinder's driver for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from tests.faults.content import digest_of
from tests.faults.scene import Desk, Scene
from tests.faults.stepping import Command
from tests.faults.subjects import Filed, Itself, Served, Subject, digest_of_files
from tests.faults.victim import Victim, run

from icebrick.devcloud.faults import Fault

_REACHING = 600.0
"""Seconds in which a command must get to where it is killed."""
_HANGING, _HANGING_BLIND = 0.3, 5.0
"""Seconds after which a recovery that reaches no step is taken to wait for what Cinder is still doing; the second if it
has not looked at the cloud yet."""


_LOOKS = frozenset(
    {"connector.properties", "nova.attachments"}
    | {f"cloud.{name}" for name in ("project", "is_admin", "volumes", "all_volumes", "get_volume", "find_volume")}
    | {f"cloud.{name}" for name in ("snapshots", "transfers", "group_snapshots", "groups", "get_group", "attachments")}
    | {"cloud.volume_types", "cloud.availability_zones"}
)
"""Calls that change nothing. What is not here is taken to."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A command to be killed; `result` is the digest of the volume that it makes, None when it makes none."""

    name: str
    arguments: tuple[str, ...]
    result: str | None = None
    wreck: str | None = None
    """The step at which a backup was killed before, for a command that clears up after it."""
    subject: Subject | None = None
    digest: Callable[[Path], str] = digest_of
    """Of what a volume holds."""


def _backup(scene: Scene) -> Flow:
    return Flow("backup", ("backup", "--single-volume-id", scene.volumes.used))


def _backup_of_group(scene: Scene) -> Flow:
    assert scene.volumes.group is not None
    return Flow("backup of a group", ("backup", "--parallel", "1", "--consistency-groups", scene.volumes.group))


def _cold_backup(scene: Scene) -> Flow:
    served = scene.subject(Served)
    return Flow("cold backup", ("backup", "--cold", "--single-volume-id", served.volume_id), subject=served)


def _backup_of_files(scene: Scene) -> Flow:
    filed = scene.subject(Filed)
    return Flow("backup of files", ("backup", "--single-volume-id", filed.there), subject=filed)


def _cleanup(scene: Scene) -> Flow:
    return Flow("cleanup", ("cleanup",), wreck="before the end of connector.open_device")


def _restore_to_copy(scene: Scene) -> Flow:
    arguments = ("restore", "--single-volume-id", scene.volumes.used)
    return Flow("restore to a copy", arguments, scene.volumes.used_backup)


def _restore_anew(scene: Scene) -> Flow:
    arguments = ("restore", "--verify", "--single-volume-id", scene.volumes.gone)
    return Flow("restore anew", arguments, scene.volumes.gone_backup)


def _restore_in_place(scene: Scene) -> Flow:
    itself = scene.subject(Itself)
    return Flow("restore in place", itself.restore, subject=itself)


def _restore_files_to_copy(scene: Scene) -> Flow:
    filed = scene.subject(Filed)
    arguments = ("restore", "--single-volume-id", filed.there)
    return Flow("restore of files to a copy", arguments, filed.backups[0], None, filed, digest_of_files)


def _restore_files_anew(scene: Scene) -> Flow:
    filed = scene.subject(Filed)
    arguments = ("restore", "--verify", "--single-volume-id", filed.gone)
    return Flow("restore of files anew", arguments, filed.backups[1], None, filed, digest_of_files)


FLOWS: Mapping[str, Callable[[Scene], Flow]] = {
    "backup": _backup,
    "backup of a group": _backup_of_group,
    "cold backup": _cold_backup,
    "backup of files": _backup_of_files,
    "cleanup": _cleanup,
    "restore to a copy": _restore_to_copy,
    "restore anew": _restore_anew,
    "restore in place": _restore_in_place,
    "restore of files to a copy": _restore_files_to_copy,
    "restore of files anew": _restore_files_anew,
}
"""By name; what a flow is about is made when it is asked for, in a scene where nothing else is."""


class Kill(Protocol):
    """One way to die. A fresh one for every cell, in this order: strike, then recover."""

    def strike(self, scene: Scene, desk: Desk, flow: Flow) -> None:
        """Start the command and kill it there; AssertionError when it does not get there."""

    def recover(self, scene: Scene, desk: Desk) -> None:
        """What a user does next: a backup, which begins by clearing up."""


@dataclass(frozen=True, slots=True)
class AtStep(Kill):
    """Between two calls to the outside."""

    step: str

    def __str__(self) -> str:
        return self.step

    def strike(self, scene: Scene, desk: Desk, flow: Flow) -> None:
        _kill_at(self.step, scene.command(desk, *flow.arguments))

    def recover(self, scene: Scene, desk: Desk) -> None:
        back_up(scene, desk)


@dataclass(frozen=True, slots=True)
class Inside(Kill):
    """While the driver is in its `number`-th operation of this kind; it goes on when the recovery is at work."""

    operation: str
    when: Literal["before", "after"]
    number: int
    fault: Fault

    def __str__(self) -> str:
        place = "begin" if self.when == "before" else "end"
        return f"inside driver.{self.operation}{_numbered(self.number)}, {place}"

    def strike(self, scene: Scene, desk: Desk, flow: Flow) -> None:
        scene.devcloud.set_faults(self.fault)
        with Victim(scene.command(desk, *flow.arguments)) as victim:
            scene.devcloud.wait_held(self.fault, timeout=_REACHING)
            victim.kill()

    def recover(self, scene: Scene, desk: Desk) -> None:
        self._clean_up(scene, desk)
        scene.devcloud.set_faults()
        back_up(scene, desk)

    def _clean_up(self, scene: Scene, desk: Desk) -> None:
        """Begins while the driver hangs, which is let go when the cleanup has looked and waits, or has ended."""
        looked = released = False
        with Victim(scene.command(desk, "cleanup"), stepped=True) as rescuer:
            while True:
                if not released and rescuer.is_silent_for(_HANGING if looked else _HANGING_BLIND):
                    scene.devcloud.release(self.fault)
                    released = True
                step = rescuer.next_step()
                if step is None:
                    break
                looked = looked or step == "after cloud.snapshots"
                rescuer.go_on()
            scene.devcloud.release(self.fault)
            rescuer.end()


def back_up(scene: Scene, desk: Desk) -> None:
    """To its end; AssertionError when that is no success."""
    run(_backup_command(scene, desk))


def wreck(scene: Scene, desk: Desk, flow: Flow) -> None:
    """Leave behind what the flow's command is to find."""
    if flow.wreck is not None:
        _kill_at(flow.wreck, _backup_command(scene, desk))


def _backup_command(scene: Scene, desk: Desk) -> Command:
    return scene.command(desk, "backup", "--single-volume-id", scene.volumes.used)


def _kill_at(wanted: str, command: Command) -> None:
    with Victim(command, stepped=True) as victim:
        victim.go_to(wanted)
        victim.kill()


def survey(scene: Scene, flow: Flow) -> list[Kill]:
    """Let the command live once; where it can be killed."""
    desk = scene.desk(f"{flow.name} alive")
    wreck(scene, desk, flow)
    before = len(scene.devcloud.ops())
    with Victim(scene.command(desk, *flow.arguments), stepped=True) as living:
        steps = list(living.steps())
        living.end()
    made = [one.operation for one in scene.devcloud.ops()[before:] if one.phase == "start"]
    scene.take_finished(flow.digest)
    if flow.subject is not None:
        flow.subject.reset()
    return [*map(AtStep, boundaries(steps)), *_inside(made)]


def boundaries(steps: list[str]) -> list[str]:
    """The steps without those at which a kill finds the same world as at the next one.

    These are the steps after a call that stand right before another call, and those before a call that only looks.
    """
    following = [*steps[1:], ""]
    return [
        step
        for step, next_step in zip(steps, following, strict=True)
        if not (step.startswith("after ") and next_step.startswith("before ")) and not _is_before_a_look(step)
    ]


def _is_before_a_look(step: str) -> bool:
    return step.partition(" (")[0] in {f"before {call}" for call in _LOOKS}


def _inside(operations: list[str]) -> list[Kill]:
    kills: list[Kill] = []
    counts: Counter[str] = Counter()
    whens: tuple[Literal["before", "after"], ...] = ("before", "after")
    for operation in operations:
        counts[operation] += 1
        number = counts[operation]
        for when in whens:
            fault = Fault(operation, "wait", when=when, skip=number - 1, times=1)
            kills.append(Inside(operation, when, number, fault))
    return kills


def _numbered(number: int) -> str:
    return "" if number == 1 else f" ({number})"
