"""icebrick reader check, build"""

from __future__ import annotations

import resource
import time
from pathlib import Path

import click

from icebrick.cli.command import LazyGroup, command
from icebrick.cli.invocation import this_invocation
from icebrick.microvm.accelerator import working_accelerator
from icebrick.microvm.image import Image, load_image, remove_others, unpack_kernel_package
from icebrick.microvm.machine import started
from icebrick.microvm.qemu import Limits

EXAMPLES = """
icebrick reader check
apt-get download linux-image-amd64
icebrick reader build --kernel-package linux-image-6.1.0-56-amd64_6.1.192-2_amd64.deb
"""

_COMMANDS = {
    "check": (__name__, "Find out whether file systems can be read in isolation here."),
    "build": (__name__, "Prepare what the virtual machine starts from."),
}


@click.group("reader", cls=LazyGroup, commands_in=_COMMANDS, examples=EXAMPLES)
def reader() -> None:
    """Prepare and try out the virtual machine that reads file systems.

    It starts from this host's kernel, or from one out of a Debian package that is only unpacked. What it starts from
    is made when it is needed first, and anew when something of it has changed.
    """


@command("check", examples=EXAMPLES)
def check() -> None:
    """Start one, and tell how long it took; or what is missing."""
    invocation = this_invocation()
    settings = invocation.settings.agent.reader
    image = load_image(settings.directory)
    accelerator = working_accelerator(image, settings.directory)
    begun, before = time.monotonic(), _spent()
    with started(image, [], accelerator, Limits(memory=settings.memory), stop=invocation.stop):
        seconds = time.monotonic() - begun
    record = {
        "message_type": "summary",
        **_record(image),
        "accelerator": accelerator.value,
        "seconds": round(seconds, 2),
        "processor_seconds": round(_spent() - before, 2),
    }
    text = (
        f"ready: kernel {image.release}, {_types(image)}; {accelerator.value}, "
        f"up in {seconds:.1f} s ({record['processor_seconds']} s of a processor)"
    )
    invocation.output.result(text, record)


@command("build", examples=EXAMPLES)
@click.option("--kernel-package", type=Path, metavar="FILE", help="Take the kernel from this Debian package.")
def build(kernel_package: Path | None) -> None:
    """Prepare what the virtual machine starts from, and remove what was prepared before. Not while a backup runs."""
    invocation = this_invocation()
    directory = invocation.settings.agent.reader.directory
    if kernel_package is not None:
        unpack_kernel_package(kernel_package, directory)
    image = load_image(directory)
    remove_others(image)
    invocation.output.result(
        f"prepared in {directory}: kernel {image.release}, {_types(image)}",
        {"message_type": "summary", **_record(image), "directory": str(directory)},
    )


def _record(image: Image) -> dict[str, object]:
    return {"kernel": image.release, "file_systems": list(image.types)}


def _types(image: Image) -> str:
    return ", ".join(image.types)


def _spent() -> float:
    """By programs that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
