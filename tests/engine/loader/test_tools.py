"""The BPF objects of Debian's libbpf-tools on the modelled kernel."""

from collections.abc import Iterator

import pytest

from engine.errors import KernelError
from engine.loader import load_object
from engine.machine import Machine
from tests.engine.loader.embedded import tool_objects

LOADING = {
    "bashreadline": ["printret"],
    "execsnoop": ["tracepoint__syscalls__sys_enter_execve", "tracepoint__syscalls__sys_exit_execve"],
    "exitsnoop": ["sched_process_exit"],
    "filelife": ["security_inode_create", "vfs_create", "vfs_open", "vfs_unlink"],
    "filetop": ["vfs_read_entry", "vfs_write_entry"],
    "opensnoop": [
        "tracepoint__syscalls__sys_enter_open",
        "tracepoint__syscalls__sys_enter_openat",
        "tracepoint__syscalls__sys_exit_open",
        "tracepoint__syscalls__sys_exit_openat",
    ],
    "syscount": ["sys_enter", "sys_exit"],
    "vfsstat": [
        f"{kind}_vfs_{name}"
        for kind in ("fentry", "kprobe")
        for name in ("create", "fsync", "open", "read", "write")
    ],
}
"""Tools all of whose programs ask only for what is modelled."""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """One machine for all of them."""
    if not tool_objects():
        pytest.skip("libbpf-tools is not installed")
    made = Machine()
    yield made
    made.close()


@pytest.mark.parametrize("name", LOADING)
def test_loads(machine: Machine, name: str) -> None:
    loaded = load_object(tool_objects()[name], machine, name=name)
    assert sorted(loaded.progs) == LOADING[name]


def test_the_others_say_what_the_kernel_lacks(machine: Machine) -> None:
    lacking = ("failed to find kernel BTF type ID", "failed to resolve CO-RE relocation", "map '")
    refused = 0
    for name, data in tool_objects().items():
        if name.startswith(("tcp", "md", "numa", "oom", "softirqs", "xfs")):
            with pytest.raises(KernelError) as caught:
                load_object(data, machine, name=name)
            assert any(words in caught.value.message for words in lacking), name
            refused += 1
    assert refused > 8
