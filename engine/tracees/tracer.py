"""The tracer: one thread that owns every ptrace call, and what other threads ask of it.

Requests are queued and carried out by the tracer thread between two stops. Nobody ever waits for a tracee,
except `stop`, for a moment.
"""

import ctypes
import errno
import os
import queue
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from engine.env import Env, peek32, peek64, poke32, poke64
from engine.errors import KernelError
from engine.jit.lang import compile_native, xchg32
from engine.machine import Machine
from engine.memory import Region
from engine.tracees.attach import attach_process, detach_all, detach_process, live_records, process_of
from engine.tracees.doorbell import (
    create_timer,
    delete_timer,
    keep_stops_quiet,
    listen_for_doorbell,
    ring,
)
from engine.tracees.handlers import PROBES, Handlers
from engine.tracees.loop import trace_loop
from engine.tracees.placement import MASK_SIZE, NO_FD, Place
from engine.tracees.rescue import end_watch, to_ordinary, watch_tracer
from engine.tracees.restart import IDENTITY_CALLS, RESTARTABLE, RESTARTABLE32, bitmap
from engine.tracees.state import INDEX_SLOTS, MAX_THREADS, REC_SIZE, ST_SIZE, Flag, Reason, Rec, St
from engine.tracees.threads import find
from engine.usermem import LOOK_NS, READER_SIZE, Reader, end_reader, read_missing

__all__ = ["Tracer"]

_Job = tuple[Callable[[], None], Future[None]]

_STOP_PATIENCE = 1.0
"""Seconds that `stop` gives the tracees to be let go one by one, before the kernel does it for all."""
_RING = struct.pack("qqqq", 0, 1_000_000, 0, 1)
_SEIZE = struct.pack("qqqq", 0, 1_000_000, 0, 2_000_000)
"""struct itimerspec: the period, and the time until the first signal, in seconds and nanoseconds."""
_COUNTERS = (St.STOPS, St.EVENTS, St.INTERRUPTS, St.RESTARTS, St.UNTRACKED, St.EXITS, St.ERRORS, St.LIVE)


def _open(path: str) -> int:
    """A file of /proc to read again and again; NO_FD where kernel or container have none."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return NO_FD


def _open_autogroup() -> tuple[int, bytes]:
    """The autogroup of the daemon to change its nice value, and the value it has.

    NO_FD where that may not change as often as it takes (kernels want CAP_SYS_ADMIN for that), or in a
    session of somebody else, who would be changed with it.
    """
    if os.getsid(0) != os.getpid():
        return NO_FD, b""
    try:
        fd = os.open("/proc/self/autogroup", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return NO_FD, b""
    try:
        own = os.read(fd, 64).split()[-1]
        for value in (own, b"-20", own):
            os.write(fd, value)
    except (OSError, IndexError):
        os.close(fd)
        return NO_FD, b""
    return fd, own


def _may_yield() -> bool:
    """Whether a thread of this process may take SCHED_IDLE and come back; one tries, and is thrown away."""
    outcome: list[bool] = []

    def attempt() -> None:
        policy = os.sched_getscheduler(0)
        try:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            os.sched_setscheduler(0, policy, os.sched_param(0))
        except OSError:
            return
        outcome.append(policy in (os.SCHED_OTHER, os.SCHED_BATCH))

    trial = threading.Thread(target=attempt)
    trial.start()
    trial.join()
    return bool(outcome and outcome[0])


class Tracer:
    """Attached processes of one machine. All methods may be called from any thread but the tracer's own."""

    def __init__(self, machine: Machine, handlers: Handlers = PROBES) -> None:
        self._machine = machine
        self._handlers = handlers
        self._region = Region("bpf-tracees", ST_SIZE + INDEX_SLOTS * 4 + MAX_THREADS * REC_SIZE)
        self._st = self._region.address
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running = False
        self._thread: threading.Thread | None = None
        self._rescuer = threading.Thread(target=watch_tracer, args=(self._st,), name="rescuer", daemon=True)
        self._pages = Region("bpf-usermem", READER_SIZE)
        self._reader = threading.Thread(
            target=read_missing, args=(self._pages.address,), name="reader", daemon=True
        )

    def start(self) -> None:
        """Compile the native loop, start the tracer thread. KernelError when there is no timer left."""
        handlers = self._handlers
        compile_native([handlers.wanted, handlers.enter, handlers.exit])
        compile_native([trace_loop, ring, watch_tracer, to_ordinary, end_watch, read_missing, end_reader])
        self._fill_state()
        keep_stops_quiet()
        self._machine.probes.on_change.append(self.rearm)
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._main, args=(ready,), name="tracer", daemon=True)
        self._thread.start()
        ready.result()
        self._rescuer.start()
        self._reader.start()

    def _fill_state(self) -> None:
        st, handlers = self._st, self._handlers
        poke64(st + St.CTL, self._machine.ctl)
        env = self._machine.new_env()
        poke64(st + St.ENV, env)
        poke64(env + Env.READER, self._pages.address)
        poke64(self._pages.address + Reader.LOOK + 8, LOOK_NS)
        poke64(st + St.INDEX, st + ST_SIZE)
        poke64(st + St.RECORDS, st + ST_SIZE + INDEX_SLOTS * 4)
        poke64(st + St.WANTED, handlers.wanted.address)
        poke64(st + St.ENTER, handlers.enter.address)
        poke64(st + St.EXIT, handlers.exit.address)
        poke32(st + Place.MAY_YIELD, int(_may_yield()))
        for offset, data in (
            (St.RING_SPEC, _RING),
            (St.SEIZE_SPEC, _SEIZE),
            (St.RESTARTABLE, bitmap(RESTARTABLE)),
            (St.RESTARTABLE32, bitmap(RESTARTABLE32)),
            (St.IDENTITY, bitmap(IDENTITY_CALLS)),
        ):
            ctypes.memmove(st + offset, data, len(data))

    # The tracer thread

    def _main(self, ready: Future[None]) -> None:
        st = self._st
        tid = threading.get_native_id()
        try:
            listen_for_doorbell()
            timer = create_timer(tid)
            self._know_place()
        except (KernelError, OSError) as error:
            ready.set_exception(error)
            return
        poke64(st + St.TIMER, timer)
        poke64(st + St.TRACER, tid)
        self._running = True
        ready.set_result(None)
        try:
            while self._running:
                if trace_loop(st) == Reason.NO_TRACEES:
                    self._do(self._jobs.get())
                xchg32(st + St.COMMANDS, 0)
                while (job := self._next_job()) is not None:
                    self._do(job)
        finally:
            self._refuse_jobs()
            delete_timer(timer)

    def _next_job(self) -> _Job | None:
        try:
            return self._jobs.get_nowait()
        except queue.Empty:
            return None

    def _do(self, job: _Job) -> None:
        """Do what was asked. Anything but a KernelError is a fault of ours and ends the thread."""
        action, answer = job
        try:
            action()
        except KernelError as error:
            answer.set_exception(error)
        except BaseException as error:
            answer.set_exception(error)
            raise
        else:
            answer.set_result(None)

    def _refuse_jobs(self) -> None:
        """Nobody will do them any more."""
        with self._lock:
            self._running = False
            while (job := self._next_job()) is not None:
                job[1].set_exception(KernelError(errno.ESRCH, "the tracer has ended"))

    def _know_place(self) -> None:
        """Note where and how this thread runs when nothing moves it."""
        st = self._st
        home = sum(1 << cpu for cpu in os.sched_getaffinity(0) if cpu < MASK_SIZE * 8)
        ctypes.memmove(st + Place.HOME, home.to_bytes(MASK_SIZE, "little"), MASK_SIZE)
        poke32(st + Place.CPUS, home.bit_count())
        poke32(st + Place.LOAD_FD, _open("/proc/loadavg"))
        poke32(st + Place.DELAY_FD, _open("/proc/thread-self/schedstat"))
        autogroup, nice = _open_autogroup()
        poke32(st + Place.AUTOGROUP_FD, autogroup)
        ctypes.memmove(st + Place.NICE, nice.ljust(3), 3)
        poke32(st + Place.POLICY, os.sched_getscheduler(0))

    # Other threads

    def _ask(self, action: Callable[[], None]) -> None:
        """Have the tracer thread do something, wait until it has, and raise what it raised."""
        answer: Future[None] = Future()
        with self._lock:
            if not self._running:
                raise KernelError(errno.ESRCH, "the tracer is not running")
            self._jobs.put((action, answer))
            xchg32(self._st + St.COMMANDS, 1)
            to_ordinary(self._st)
            ring(self._st)
        answer.result()

    def attach(self, pid: int) -> None:
        """Trace the process of `pid`, all its threads, and whatever it forks from now on.

        Nothing happens when it is attached. KernelError ESRCH (no such process), EPERM (ourselves, a kernel
        thread, a zombie, traced by another, not ours to trace) or EAGAIN (it has been executing a program for
        seconds).
        """
        self._ask(lambda: attach_process(self._st, pid))

    def detach(self, pid: int) -> None:
        """Order that process `pid` be let go; it leaves as soon as each of its threads can stop, and runs on
        as it was (stopped, if it was stopped). KernelError ESRCH when it is not attached.
        """
        self._ask(lambda: detach_process(self._st, pid))

    def rearm(self) -> None:
        """What needs system-call stops has changed (`Ctl.ARMED`). Returns at once, takes effect soon."""
        with self._lock:
            if self._running:
                xchg32(self._st + St.REARM, 1)
                ring(self._st)

    def _live(self) -> list[tuple[int, int]]:
        """(thread id, thread-group id or 0) of every thread that is traced to stay."""
        with self._lock:
            if self._region.closed:
                return []
            return [
                (peek32(rec + Rec.TID), peek32(rec + Rec.TGID))
                for rec in live_records(self._st)
                if not peek32(rec + Rec.FLAGS) & Flag.DETACH
            ]

    def is_attached(self, tid: int) -> bool:
        """Whether thread `tid` is attached; cheap."""
        with self._lock:
            rec = 0 if self._region.closed else find(self._st, tid)
            return bool(rec) and not peek32(rec + Rec.FLAGS) & Flag.DETACH

    def threads(self) -> list[int]:
        """Ids of the attached threads, in ascending order."""
        return sorted(tid for tid, _ in self._live())

    def pids(self) -> list[int]:
        """Ids of the attached processes (thread groups), in ascending order."""
        found = set()
        for tid, tgid in self._live():
            try:
                found.add(tgid or process_of(tid))
            except KernelError:
                continue
        return sorted(found)

    @property
    def state(self) -> int:
        """Address of the state block (`state.St`)."""
        return self._st

    @property
    def stats(self) -> dict[str, int]:
        """Counters by name: stops, events, interrupts, restarts, untracked, exits, errors; live threads."""
        with self._lock:
            if self._region.closed:
                return {counter.name.lower(): 0 for counter in _COUNTERS}
            return {counter.name.lower(): peek64(self._st + counter) for counter in _COUNTERS}

    def stop(self) -> None:
        """Let every tracee go and end the tracer thread. Further calls do nothing."""
        thread = self._thread
        if thread is None or not self._running:
            return
        self._ask(lambda: detach_all(self._st))
        deadline = time.monotonic() + _STOP_PATIENCE
        while peek64(self._st + St.LIVE) and time.monotonic() < deadline:
            time.sleep(0.002)
        self._ask(self._end)
        thread.join()
        end_watch(self._st)
        self._rescuer.join()
        end_reader(self._pages.address)
        self._reader.join(_STOP_PATIENCE)
        for fd in (Place.LOAD_FD, Place.DELAY_FD, Place.AUTOGROUP_FD):
            if (number := peek32(self._st + fd)) != NO_FD:
                os.close(number)
        self._machine.probes.on_change.remove(self.rearm)
        with self._lock:
            self._machine.free_env(peek64(self._st + St.ENV))
            self._region.close()
        if not self._reader.is_alive():
            # One that waits for a page yet would write to it.
            self._pages.close()

    def _end(self) -> None:
        self._running = False
