"""What is killed, and where: at every step of a command, and inside every operation of Cinder's driver for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, Protocol

from tests.faults.scene import Desk, Scene
from tests.faults.stepping import Command
from tests.faults.victim import Victim, run

from icebrick.devcloud.faults import Fault

_HANGING = 0.3
"""Seconds after which a recovery that reaches no step is taken to wait for what Cinder is still doing."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A command to be killed; `result` is the digest of the volume that it makes, None when it makes none."""

    name: str
    arguments: tuple[str, ...]
    result: str | None = None
    wreck: str | None = None
    """The step at which a backup was killed before, for a command that clears up after it."""


def flows_of(scene: Scene) -> tuple[Flow, ...]:
    used, gone = scene.volumes.used, scene.volumes.gone
    return (
        Flow("backup", ("backup", "--single-volume-id", used)),
        Flow("backup of a group", ("backup", "--parallel", "1", "--consistency-groups", scene.volumes.group)),
        Flow("cleanup", ("cleanup",), wreck="before the end of connector.open_device"),
        Flow("restore to a copy", ("restore", "--single-volume-id", used), scene.volumes.used_backup),
        Flow("restore anew", ("restore", "--verify", "--single-volume-id", gone), scene.volumes.gone_backup),
    )


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
            scene.devcloud.wait_held(self.fault)
            victim.kill()

    def recover(self, scene: Scene, desk: Desk) -> None:
        self._clean_up(scene, desk)
        scene.devcloud.set_faults()
        back_up(scene, desk)

    def _clean_up(self, scene: Scene, desk: Desk) -> None:
        """Begins while the driver hangs, which is let go when the cleanup has looked and waits, or has ended."""
        looked = False
        with Victim(scene.command(desk, "cleanup"), stepped=True) as rescuer:
            while True:
                if looked and rescuer.is_silent_for(_HANGING):
                    scene.devcloud.release(self.fault)
                    looked = False
                step = rescuer.next_step()
                if step is None:
                    break
                looked = looked or step == "after cloud.snapshots"
                rescuer.go_on()
            scene.devcloud.release(self.fault)
            rescuer.end()


def back_up(scene: Scene, desk: Desk) -> None:
    """To its end; AssertionError when that is no success."""
    run(_backup(scene, desk))


def wreck(scene: Scene, desk: Desk, flow: Flow) -> None:
    """Leave behind what the flow's command is to find."""
    if flow.wreck is not None:
        _kill_at(flow.wreck, _backup(scene, desk))


def _backup(scene: Scene, desk: Desk) -> Command:
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
    scene.take_finished()
    return [*map(AtStep, boundaries(steps)), *_inside(made)]


def boundaries(steps: list[str]) -> list[str]:
    """The steps without those after a call that stand right before another call: a kill finds the same world there."""
    following = [*steps[1:], ""]
    return [
        step
        for step, next_step in zip(steps, following, strict=True)
        if not (step.startswith("after ") and next_step.startswith("before "))
    ]


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
