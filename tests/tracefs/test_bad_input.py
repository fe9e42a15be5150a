"""Whatever is written: an errno, a working tracefs afterwards; what is accepted reads back as the same."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.errors import KernelError
from engine.kernfs import Dir, File
from engine.machine import Machine
from tests.tracefs.conftest import CALLER, Files

TOKENS = (
    "p r p:g/e r10:x -: -:g/ vfs_read do_sys_openat2 vfs_read+0 vfs_read%return 0x10 a= %di %ax $stack "
    '$stack1 $retval $comm $arg1 +0( -8( +u0( ) :u8 :x32 :string :ustring :b4@4/8 [2] \\1 \\" @ @vfs_read '
    '== && || ! ( ) dfd name 0 1 -1 "x" ~ \' traceon traceoff:1 if enable_event:kprobes:a : , ; #'
)
PIECES = ("p:a vfs_read ", "x=", "+0(", "%di", ")", ":u8", ":string", "[3]", "$arg2", "\\7", " ", "-u8(")
WORDS = st.lists(st.sampled_from(TOKENS.split()), max_size=14).map(" ".join) | st.lists(
    st.sampled_from(PIECES), max_size=10
).map("".join)


@pytest.fixture(scope="module")
def shared() -> Iterator[Files]:
    """One tracefs for everything."""
    machine = Machine(nr_cpus=2)
    files = Files(machine)
    yield files
    files.tracefs.close()
    machine.close()


def writable(files: Files) -> list[str]:
    """Paths of all files that can be written, with one event of each kind."""
    files.write("kprobe_events", "p:a do_sys_openat2 dfd=%di:s32 name=+0(%si):ustring\n")
    found: list[str] = []

    def walk(path: str, directory: Dir) -> None:
        for name, node in directory.entries():
            if isinstance(node, Dir) and name not in ("syscalls", "sched", "task"):
                walk(f"{path}{name}/", node)
            elif isinstance(node, File) and node.perm & 0o222:
                found.append(path + name)

    walk("", files.tracefs.root)
    return found


def poke(files: Files, path: str, data: bytes, flags: int) -> None:
    """Write, taking any errno."""
    try:
        node = files.node(path)
        assert isinstance(node, File)
        handle = node.open(flags, CALLER)
    except KernelError:
        return
    try:
        handle.write(0, data)
    except KernelError as refused:
        assert refused.errno > 0
    handle.close()
    handle.release()


@settings(max_examples=60, deadline=None)
@given(WORDS.map(lambda text: text.encode("latin-1")) | st.binary(max_size=80), st.booleans())
@example(b"\xff" * 5000, True)
@example(b"\0", False)
def test_any_bytes_to_any_file(shared: Files, data: bytes, truncate: bool) -> None:
    for path in writable(shared):
        if path in ("buffer_size_kb", "per_cpu/cpu0/buffer_size_kb", "per_cpu/cpu1/buffer_size_kb"):
            data = data[:3]  # keeps the memory that is asked for small
        poke(shared, path, data, os.O_WRONLY | (os.O_TRUNC if truncate else 0))
    shared.tracefs.triggers.remove_all()
    shared.write("events/enable", "0")
    shared.write("tracing_on", "1")
    shared.write("tracing_cpumask", "3")
    shared.write("options/markers", "1")
    shared.write("options/overwrite", "1")
    shared.write("trace", "")
    shared.append("trace_marker", "alive")
    assert "alive" in shared.read("trace")


@settings(max_examples=300, deadline=None)
@given(WORDS)
def test_what_is_accepted_reads_back_as_the_same(shared: Files, text: str) -> None:
    shared.write("kprobe_events", "")
    try:
        shared.append("kprobe_events", text)
    except KernelError:
        return
    shown = shared.read("kprobe_events")
    shared.write("kprobe_events", shown)
    assert shared.read("kprobe_events") == shown
