"""Operations on the mount itself as hits of vfs_*: a bounded queue and one thread that fires them.

The thread that serves the mount must never run a handler (it could wait for itself), so it only queues.
What does not fit is counted as missed by each probe of the function.
"""

import ctypes
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.env import TASK_COMM_LEN, Env, peek64, poke32, poke64
from engine.kernel.callparse import MOUNT_CALLS
from engine.kernel.layout import ALIAS, Task
from engine.kernel.tasks import task_free, task_new, task_set_comm, task_set_creds
from engine.probes.vfsfire import vfs_dentry_call, vfs_file_call, vfs_fire, vfs_rename_call

if TYPE_CHECKING:
    from engine.machine import Machine

__all__ = ["QUEUE_LENGTH", "VfsHits"]

QUEUE_LENGTH = 4096
"""Hits that may wait; more are dropped and counted."""
_OPERATIONS = {call.function.name: i for i, call in enumerate(MOUNT_CALLS)}
_ON_FILES = frozenset({"vfs_open", "vfs_read", "vfs_write"})
"""Functions that take a file; the others take names."""
_NO_COMM = b"<...>"


@dataclass(frozen=True, slots=True)
class _Hit:
    name: str
    tid: int
    tgid: int
    uid: int
    gid: int
    comm: bytes
    path: str
    new_path: str
    flags: int
    count: int
    pos: int
    ret: int
    start_ns: int
    end_ns: int


def _identity(tid: int) -> tuple[int, bytes]:
    """Thread-group id and name of a thread that may be gone (then its id, and what Linux prints)."""
    try:
        with open(f"/proc/{tid}/status", "rb") as status:
            lines = dict(line.split(b":", 1) for line in status.read().splitlines() if b":" in line)
        return int(lines[b"Tgid"]), lines[b"Name"].strip()
    except OSError:
        return tid, _NO_COMM


class VfsHits:
    """What `Machine.vfs` is. The thread starts with the first hit and ends with `close`.

    An attached process's own system calls report what it does, so its operations are left out here.
    """

    def __init__(self, machine: "Machine") -> None:
        self._machine = machine
        self._queue: queue.Queue[_Hit | None] = queue.Queue(QUEUE_LENGTH)
        self._thread: threading.Thread | None = None
        self._busy = threading.Lock()
        self.is_attached: Callable[[int], bool] = lambda tid: False
        """Whether a thread's system calls are observed; set by who owns the tracer."""

    def armed(self, name: str) -> bool:
        """Whether an operation needs to be told at all."""
        return name in self._machine.probes.armed

    def hit(
        self,
        name: str,
        tid: int,
        uid: int,
        gid: int,
        path: str,
        ret: int,
        *,
        new_path: str = "",
        flags: int = 0,
        count: int = 0,
        pos: int = 0,
        start_ns: int = 0,
    ) -> None:
        """An operation `name` (`vfs_read` ...) on absolute `path` by thread `tid` has returned `ret`.

        `flags` are of open(2), for vfs_mkdir the mode, for vfs_rename of renameat2(2); `count` and `pos`
        bytes; `start_ns` CLOCK_MONOTONIC when it began, 0 for now. Never blocks.
        """
        if not self.armed(name) or self.is_attached(tid):
            return
        now = self._machine.clock.now_ns()
        tgid, comm = _identity(tid)
        hit = _Hit(
            name, tid, tgid, uid, gid, comm, path, new_path, flags, count, pos, ret, start_ns or now, now
        )
        self._start()
        try:
            self._queue.put_nowait(hit)
        except queue.Full:
            for probe in self._machine.probes.of(name):
                probe.add_missed()

    def _start(self) -> None:
        with self._busy:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="vfs-hits", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        env = self._machine.new_env()
        task = task_new(self._machine.ctl, os.getpid(), os.getpid(), 0)
        poke64(env + Env.TASK, task)
        while (hit := self._queue.get()) is not None:
            self._fire(env, hit)
            self._queue.task_done()
        self._queue.task_done()
        task_free(self._machine.ctl, task)
        self._machine.free_env(env)

    def _fire(self, env: int, hit: _Hit) -> None:
        _describe(env, hit)
        path = ctypes.create_string_buffer(os.fsencode(hit.path))
        at = ctypes.addressof(path)
        if hit.name in _ON_FILES:
            vfs_file_call(env, at, hit.flags, hit.count, hit.pos, hit.name == "vfs_open")
        elif hit.name == "vfs_rename":
            new_path = ctypes.create_string_buffer(os.fsencode(hit.new_path))
            vfs_rename_call(env, at, ctypes.addressof(new_path), hit.flags)
        else:
            vfs_dentry_call(env, at, hit.flags)
        vfs_fire(env, _OPERATIONS[hit.name], hit.ret, hit.end_ns)

    def drain(self) -> None:
        """Wait until everything queued so far has fired. Not for the thread that serves the mount."""
        self._queue.join()

    def close(self) -> None:
        """Fire what is queued and end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None


def _describe(env: int, hit: _Hit) -> None:
    """Make the hit's thread the current one of `env`."""
    poke64(env + Env.TIME_NS, hit.start_ns)
    poke32(env + Env.TID, hit.tid)
    poke32(env + Env.TGID, hit.tgid)
    poke32(env + Env.UID, hit.uid)
    poke32(env + Env.GID, hit.gid)
    ctypes.memmove(env + Env.COMM, hit.comm[: TASK_COMM_LEN - 1].ljust(TASK_COMM_LEN, b"\0"), TASK_COMM_LEN)
    task = peek64(env + Env.TASK)
    poke32(task - ALIAS + Task.PID, hit.tid)
    poke32(task - ALIAS + Task.TGID, hit.tgid)
    task_set_comm(task, env + Env.COMM)
    task_set_creds(task, hit.uid, hit.gid, hit.uid, hit.gid)
