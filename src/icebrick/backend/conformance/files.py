"""One file at a time: saved, read, replaced, removed."""

from __future__ import annotations

from functools import partial

from icebrick.backend.base import Backend, FileInfo, FileType, Handle
from icebrick.backend.conformance.base import (
    CONFIG,
    CONTENT,
    handle_for,
    listed,
    named,
    noise,
    require,
    require_error,
    require_same,
    save_content,
)
from icebrick.errors import FileMissingError, ShortReadError

BIG = 33 << 20

_INSIDE = ((0, 1), (0, 768), (1, 255), (767, 1), (300, 0), (0, 0), (768, 0), (511, None), (0, None), (768, None))
_OUTSIDE = ((0, 769), (767, 2), (768, 1), (5000, 1), (769, 0), (769, None))


def a_saved_file_of_any_type_loads_again(backend: Backend) -> None:
    """A saved file of any type loads again."""
    for file_type in FileType:
        handle = handle_for(CONTENT, file_type)
        backend.save(handle, CONTENT)
        require_same(f"{handle} after its save", backend.load(handle), CONTENT)


def an_empty_file_is_a_file(backend: Backend) -> None:
    """An empty file has no bytes, and is there."""
    handle = named(b"")
    backend.save(handle, b"")
    require_same("an empty file", backend.load(handle), b"")
    require_same("size of an empty file", backend.stat(handle).size, 0)


def a_big_file_comes_back_whole(backend: Backend) -> None:
    """A file of 33 MiB comes back whole, and so does a range across it."""
    content = noise(BIG)
    handle = named(content)
    backend.save(handle, content)
    require_same("size", backend.stat(handle).size, BIG)
    require_same("the whole file", backend.load(handle), content)
    start, length = (16 << 20) - 7, 1 << 20
    require_same("a range", backend.load(handle, offset=start, length=length), content[start : start + length])


def any_kind_of_buffer_can_be_saved(backend: Backend) -> None:
    """Any kind of buffer can be saved, and a view into the middle of one saves just that."""
    for wrap in (bytes, bytearray, memoryview):
        backend.save(named(CONTENT), wrap(CONTENT))
        require_same(f"a file saved from {wrap.__name__}", backend.load(named(CONTENT)), CONTENT)
    part = CONTENT[3:100]
    backend.save(named(part), memoryview(bytearray(CONTENT))[3:100])
    require_same("a file saved from a view", backend.load(named(part)), part)


def a_buffer_can_be_used_again_after_the_save(backend: Backend) -> None:
    """A buffer that changes after the save changes nothing in the file."""
    buffer = bytearray(CONTENT)
    backend.save(named(CONTENT), memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    require_same("the file", backend.load(named(CONTENT)), CONTENT)


def saving_again_replaces_the_file(backend: Backend) -> None:
    """Saving again replaces the file, also by a shorter one."""
    backend.save(CONFIG, b"a longer first content")
    backend.save(CONFIG, b"second")
    require_same("the file", backend.load(CONFIG), b"second")
    require_same("its listing", listed(backend, FileType.CONFIG), {FileInfo(CONFIG, 6)})


def the_same_name_in_two_types_is_two_files(backend: Backend) -> None:
    """The same name in two types is two files."""
    saved = save_content(backend)
    other = Handle(FileType.INDEX, saved.name)
    backend.save(other, b"index")
    backend.remove(saved)
    require_same("the other file", backend.load(other), b"index")


def a_range_inside_the_file_is_exact(backend: Backend) -> None:
    """A range inside the file gives exactly its bytes."""
    saved = save_content(backend)
    for offset, length in _INSIDE:
        end = len(CONTENT) if length is None else offset + length
        found = backend.load(saved, offset=offset, length=length)
        require_same(f"offset {offset}, length {length}", found, CONTENT[offset:end])


def a_range_past_the_end_is_an_error(backend: Backend) -> None:
    """A range that reaches past the end of the file is an error, not fewer bytes."""
    saved = save_content(backend)
    for offset, length in _OUTSIDE:
        load = partial(backend.load, saved, offset=offset, length=length)
        require_error(f"offset {offset}, length {length}", ShortReadError, load)


def a_missing_file_is_said_to_be_missing(backend: Backend) -> None:
    """A file that is not there is said to be missing, with its name."""
    missing = named(b"x")
    message = require_error("loading it", FileMissingError, partial(backend.load, missing))
    require(missing.name in message, f"the message does not name the file: {message}")
    require_error("loading a range of it", FileMissingError, partial(backend.load, missing, offset=1, length=1))
    require_error("asking for its size", FileMissingError, partial(backend.stat, missing))


def an_empty_place_has_no_config(backend: Backend) -> None:
    """Where nothing was saved, there is no config."""
    require_error("asking for its size", FileMissingError, partial(backend.stat, CONFIG))
    require_error("loading it", FileMissingError, partial(backend.load, CONFIG))


def the_size_of_a_file_is_told(backend: Backend) -> None:
    """The size of a file can be asked for."""
    saved = save_content(backend)
    require_same("what is told", backend.stat(saved), FileInfo(saved, len(CONTENT)))


def a_removed_file_is_gone(backend: Backend) -> None:
    """A removed file is gone at once, from listings too."""
    saved = save_content(backend)
    backend.remove(saved)
    require_error("loading it", FileMissingError, partial(backend.load, saved))
    require_same("a listing", listed(backend, FileType.PACK), set())


def removing_what_is_not_there_is_fine(backend: Backend) -> None:
    """Removing a file twice, or one that never was, is fine."""
    saved = save_content(backend)
    backend.remove(saved)
    backend.remove(saved)
    for file_type in FileType:
        backend.remove(handle_for(b"never", file_type))


def a_removed_file_can_be_saved_again(backend: Backend) -> None:
    """A removed file can be saved again."""
    saved = save_content(backend)
    backend.remove(saved)
    backend.save(saved, CONTENT)
    require_same("the file", backend.load(saved), CONTENT)


def creating_again_keeps_what_is_there(backend: Backend) -> None:
    """Creating the place again keeps all files."""
    saved = save_content(backend)
    backend.save(CONFIG, b"config")
    backend.create()
    require_same("a pack", backend.load(saved), CONTENT)
    require_same("the config", backend.load(CONFIG), b"config")
