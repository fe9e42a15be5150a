"""engine.kernel.btf: the blob agrees with the layouts that native code writes, and the kernel takes it."""

import ctypes
import os
from enum import IntEnum
from struct import pack

import pytest

from engine.abi.bpf import Cmd
from engine.btf import Btf, Kind
from engine.btf.types import Composite, Func, FuncProto, Type
from engine.kernel import layout
from engine.kernel.btf import kernel_btf
from engine.kernel.clone import CloneArgs
from engine.kernel.functions import FUNCTIONS
from engine.kernel.tracepoints import tracepoints
from engine.probes.regs import Reg
from tests.kernel_oracle import bpf, kernel_unavailable

BTF = Btf(kernel_btf())


def found(name: str, kind: Kind) -> Type:
    number = BTF.find(name, kind)
    assert number is not None, name
    return BTF.types[number]


def struct(name: str) -> Composite:
    record = found(name, Kind.STRUCT)
    assert isinstance(record, Composite)
    return record


def offsets(name: str) -> dict[str, int]:
    return {member.name: member.bit_offset // 8 for member in struct(name).members}


@pytest.mark.parametrize(
    ("name", "enum", "unlisted"),
    [
        ("task_struct", layout.Task, {"STATE", "FLAGS", "EXIT_STATE", "CPU", "SIZE"}),
        ("filename", layout.Filename, {"ANAME"}),
        ("open_how", layout.OpenHow, set()),
        ("open_flags", layout.OpenFlags, set()),
        ("inode", layout.Inode, set()),
        ("super_block", layout.SuperBlock, set()),
        ("vfsmount", layout.VfsMount, set()),
        ("kernel_clone_args", CloneArgs, set()),
        ("pt_regs", Reg, set()),
        ("renamedata", layout.RenameData, set()),
    ],
)
def test_offsets_are_those_of_the_layout(name: str, enum: type[IntEnum], unlisted: set[str]) -> None:
    members = enum.__members__.items()
    assert offsets(name) == {key.lower(): int(value) for key, value in members if key not in unlisted}


def test_nested_structs() -> None:
    file, dentry = offsets("file"), offsets("dentry")
    assert file["f_path"] + offsets("path")["dentry"] == layout.File.F_PATH_DENTRY
    assert dentry["d_name"] + offsets("qstr")["name"] == layout.Dentry.D_NAME_NAME
    assert struct("dentry").size == layout.Dentry.SIZE
    assert struct("file").size <= layout.FileBlock.INODE - layout.FileBlock.FILE
    assert struct("task_struct").size <= layout.Slot.CRED - layout.Slot.TASK


def test_every_function_is_described() -> None:
    for function in FUNCTIONS.values():
        record = found(function.name, Kind.FUNC)
        assert isinstance(record, Func)
        prototype = BTF.types[record.type]
        assert isinstance(prototype, FuncProto)
        assert [param.name for param in prototype.params] == [param.name for param in function.params]


def test_records_of_tracepoints() -> None:
    assert offsets("trace_event_raw_sys_enter") == {"ent": 0, "id": 8, "args": 16, "__data": 64}
    assert offsets("trace_event_raw_sched_process_exec")["__data_loc_filename"] == 8
    for row in tracepoints().values():
        if row.raw_args:
            assert found(f"btf_trace_{row.name}", Kind.TYPEDEF)


def test_it_is_the_same_every_time() -> None:
    assert kernel_btf.__wrapped__() == kernel_btf()


def test_the_machines_kernel_takes_it() -> None:
    reason = kernel_unavailable()
    if reason:
        pytest.skip(reason)
    blob, log = (
        ctypes.create_string_buffer(kernel_btf(), len(kernel_btf())),
        ctypes.create_string_buffer(1 << 20),
    )
    attr = pack("<QQIII", ctypes.addressof(blob), ctypes.addressof(log), len(kernel_btf()), len(log), 1)
    fd = bpf(Cmd.BTF_LOAD, attr.ljust(32, b"\0"))
    assert fd >= 0, log.value[-2000:]
    os.close(fd)
