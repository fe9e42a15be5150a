"""Control groups and namespaces of the current thread, as /proc tells them (kernel/bpf/helpers.c)."""

import errno

from engine.abi.bpf import FuncId
from engine.env import Env
from engine.helpers.digits import Out, finish, put_number, put_text
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import (
    c_call,
    cstr,
    load_acquire64,
    local,
    memcmp,
    memset,
    native,
    put8,
    put32,
    put64,
    sext32,
    u8,
    u32,
    u64,
)
from engine.maps.cgroup import CgroupHdr
from engine.maps.header import MapHdr

__all__ = ["current_task_under_cgroup", "get_current_cgroup_id", "get_ns_current_pid_tgid"]

_EINVAL = -errno.EINVAL
_E2BIG = -errno.E2BIG
_EAGAIN = -errno.EAGAIN
_O_CLOEXEC = 0o2000000
_ROOT_ID = 1
_PATH = 1024
_ST_DEV, _ST_INO = 0, 8
_STAT_SIZE = 144
_NEWLINE = ord("\n")


@native
def _start(out: int, buffer: int, size: int) -> int:
    """Begin a text in a buffer."""
    memset(out, 0, 64)
    put64(out + Out.BASE, buffer)
    put64(out + Out.SIZE, size)
    return 0


@native
def _proc_path(env: int, path: int, name: int, length: int) -> int:
    """Write /proc/TID/name of the current thread into 64 bytes."""
    out = local(64)
    _start(out, path, 64)
    put_text(out, cstr("/proc/"), 6)
    put_number(out, u64(env + Env.MEM_TID), 0, 10)
    put_text(out, name, length)
    return finish(out)


@native
def _cgroup_path(env: int, path: int) -> int:
    """Write the current thread's path in the unified hierarchy, with a NUL; its length, 0 if unknown.

    `path` has room for 1024 bytes.
    """
    file = local(64)
    _proc_path(env, file, cstr("/cgroup"), 7)
    fd = sext32(c_call("open", file, _O_CLOEXEC, 0))
    if fd < 0:
        return 0
    text = local(4096)
    size = c_call("read", fd, text, 4095)
    c_call("close", fd)
    at = 0
    while at + 4 < size:
        line = at
        while at < size and u8(text + at) != _NEWLINE:
            at += 1
        # The unified hierarchy's line is "0::" and the path.
        if memcmp(text + line, cstr("0::"), 3) == 0 and at - line - 3 < _PATH:
            put8(text + at, 0)
            c_call("strcpy", path, text + line + 3)
            return at - line - 3
        at += 1
    return 0


@helper(Proto(FuncId.get_current_cgroup_id, "bpf_get_current_cgroup_id", Ret.INTEGER))
@native
def get_current_cgroup_id(env: int) -> int:
    """The current thread's control group: inode number of its directory; the root's where it is unknown."""
    path = local(1024)
    length = _cgroup_path(env, path)
    if length == 0:
        return _ROOT_ID
    full = local(1056)
    out = local(64)
    _start(out, full, 1056)
    put_text(out, cstr("/sys/fs/cgroup"), 14)
    put_text(out, path, length)
    finish(out)
    stat = local(144)
    if sext32(c_call("stat", full, stat)) < 0:
        return _ROOT_ID
    return u64(stat + _ST_INO)


@helper(
    Proto(
        FuncId.current_task_under_cgroup,
        "bpf_current_task_under_cgroup",
        Ret.INTEGER,
        (Arg.CONST_MAP_PTR, Arg.ANYTHING),
    )
)
@native
def current_task_under_cgroup(env: int, map: int, index: int) -> int:
    """1 where the current thread is in the control group at `index` or below it, else 0. -E2BIG, -EAGAIN."""
    slot = index & 0xFFFF_FFFF
    if slot >= u32(map + MapHdr.MAX_ENTRIES):
        return _E2BIG
    group = load_acquire64(u64(map + MapHdr.DATA) + slot * 8)
    if group == 0:
        return _EAGAIN
    path = local(1024)
    length = _cgroup_path(env, path)
    prefix = u32(group + CgroupHdr.LENGTH)
    if length < prefix or memcmp(path, group + CgroupHdr.PATH, prefix) != 0:
        return 0
    return length == prefix or prefix == 0 or u8(path + prefix) == 47


@helper(
    Proto(
        FuncId.get_ns_current_pid_tgid,
        "bpf_get_ns_current_pid_tgid",
        Ret.INTEGER,
        (Arg.ANYTHING, Arg.ANYTHING, Arg.UNINIT_MEM, Arg.CONST_SIZE),
    )
)
@native
def get_ns_current_pid_tgid(env: int, dev: int, inode: int, out: int, size: int) -> int:
    """The thread's ids in its own pid namespace, if that is `inode` of nsfs. -EINVAL, with zeros."""
    memset(out, 0, size)
    file = local(64)
    stat = local(144)
    _proc_path(env, file, cstr("/ns/pid"), 7)
    if size != 8 or sext32(c_call("stat", file, stat)) < 0:
        return _EINVAL
    if u64(stat + _ST_INO) != inode or u64(stat + _ST_DEV) != dev:
        return _EINVAL
    put32(out, u32(env + Env.NSPID))
    put32(out + 4, u32(env + Env.NSTGID))
    return 0
