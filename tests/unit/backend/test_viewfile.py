"""Memory read as a file behaves as the library's own."""

from __future__ import annotations

import io
import os

from hypothesis import given
from hypothesis import strategies as st

from icebrick.backend.viewfile import ViewFile

reads = st.tuples(st.just("read"), st.tuples(st.one_of(st.none(), st.integers(-1, 12))))
seeks = st.tuples(st.just("seek"), st.tuples(st.integers(0, 12), st.just(os.SEEK_SET)))
ends = st.tuples(st.just("seek"), st.tuples(st.integers(-10, 3), st.just(os.SEEK_END)))
tells = st.tuples(st.just("tell"), st.just(()))


@given(data=st.binary(max_size=10), calls=st.lists(st.one_of(reads, seeks, ends, tells), max_size=12))
def test_it_reads_as_a_file_in_memory_does(data, calls):
    ours, theirs = ViewFile(memoryview(data)), io.BytesIO(data)
    for name, arguments in calls:
        assert getattr(ours, name)(*arguments) == getattr(theirs, name)(*arguments)
