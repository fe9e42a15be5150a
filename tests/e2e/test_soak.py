"""A hundred thousand probed calls while everything is read and changed: no error, no growth.

Memory is compared with what it was after a few calls under the same commands. Until then code is compiled
where the cache does not have it, which maps LLVM, and Python's pools fill.
"""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import Shell, wait_until

CALLS = 100_000
WARM_UP = 5_000
SLACK_KB = 4 * 1024
EMPTY = "cat $T/per_cpu/cpu*/stats | sed -n 's/^entries: //p' | sort -u"
LOST = "cat $T/per_cpu/cpu*/stats | sed -n 's/^\\(overrun\\|dropped events\\): //p'"
PROGRAM = """\
#include <sys/syscall.h>
#include <unistd.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    for (long i = atol(argv[1]); i > 0; i--) syscall(SYS_getppid);
    return 0;
}
"""


@dataclass(frozen=True)
class Memory:
    """What a process holds, in kB: its own, and shared memory, where the rings and maps are."""

    own: int
    shared: int

    @classmethod
    def of(cls, pid: int) -> "Memory":
        found = dict(re.findall(r"(Rss\w+):\s+(\d+)", Path(f"/proc/{pid}/status").read_text()))
        return cls(int(found["RssAnon"]), int(found["RssShmem"]))


class Repeat:
    """Commands that run again and again beside the test, and must never fail."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self._stop = threading.Event()
        self.rounds = 0
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._act()
            except (AssertionError, OSError) as failure:
                self.failure = failure
                return
            self.rounds += 1

    def __enter__(self) -> "Repeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def soak(mounted: Shell, calls: int) -> None:
    """Make `calls` calls while everything is read and probes come and go; nothing may fail."""

    def churn() -> None:
        # Removing an event that was enabled would clear the buffer, so what is removed never was.
        mounted.ok("echo 1 > $T/events/kprobes/x/enable; echo 'p:y vfs_read' >> $T/kprobe_events")
        mounted.ok("echo 0 > $T/events/kprobes/x/enable; echo '-:y' >> $T/kprobe_events")

    with (
        Repeat(lambda: mounted.ok("cat $T/trace > /dev/null")) as trace,
        Repeat(lambda: mounted.ok("cat $B/count/maps/hits > /dev/null")) as hits,
        Repeat(churn) as changes,
    ):
        run = mounted.start(f"exec bpffs run -m $M -- $M/../calls {calls}")
        assert run.wait(240) == 0
        repeats = (trace, hits, changes)
        assert wait_until(lambda: all(repeat.rounds or repeat.failure for repeat in repeats))
    for repeat in repeats:
        assert repeat.failure is None


@pytest.mark.timeout(300)
def test_soak(mounted: Shell) -> None:
    source = mounted.mount.parent / "calls.c"
    source.write_text(PROGRAM)
    mounted.ok(f"gcc -O1 -o $M/../calls {source} && mkdir -p $M/../out")
    mounted.ok("cp $EXAMPLES/count.bpf.o $B/; echo 1 > $B/count/attach.ctl")
    mounted.ok("echo 'p:g __x64_sys_getppid' > $T/kprobe_events; echo 1 > $T/events/kprobes/g/enable")
    mounted.ok("echo 'p:x vfs_read' >> $T/kprobe_events")
    daemon = mounted.daemon
    pipe = mounted.start("exec cat $T/trace_pipe > $M/../out/pipe")
    try:
        soak(mounted, WARM_UP)
        before = Memory.of(daemon)
        soak(mounted, CALLS)
        after = Memory.of(daemon)
        total = WARM_UP + CALLS
        assert f"\n110: {total}\n" in mounted.ok("cat $B/count/maps/hits")
        profile = mounted.ok("cat $T/kprobe_profile").split()
        assert profile[:3] == ["g", str(total), "0"]
        assert wait_until(lambda: mounted.ok(EMPTY) == "0\n")
    finally:
        pipe.kill()
        pipe.wait()
    shown = [int(mounted.ok(f"grep -c '{name}' $M/../out/pipe")) for name in (" g: ", " [gx]: ")]
    lost = sum(int(count) for count in mounted.ok(LOST).split())
    assert 0 < shown[0] <= total <= shown[1] + lost
    assert after.own - before.own < SLACK_KB
    assert after.shared - before.shared < SLACK_KB + int(mounted.ok("cat $T/buffer_total_size_kb"))
