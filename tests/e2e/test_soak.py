"""A hundred thousand probed calls while everything is read and changed: no error, no growth."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Shell, wait_until

CALLS = 100_000
EMPTY = "cat $T/per_cpu/cpu*/stats | sed -n 's/^entries: //p' | sort -u"
LOST = "cat $T/per_cpu/cpu*/stats | sed -n 's/^\\(overrun\\|dropped events\\): //p'"
PROGRAM = """\
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    for (long i = 0; i < %d; i++) syscall(SYS_getppid);
    return 0;
}
"""


def resident_kb(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


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


@pytest.mark.timeout(300)
def test_soak(mounted: Shell) -> None:
    source = mounted.mount.parent / "calls.c"
    source.write_text(PROGRAM % CALLS)
    mounted.ok(f"gcc -O1 -o $M/../calls {source} && mkdir -p $M/../out")
    mounted.ok("cp $EXAMPLES/count.bpf.o $B/; echo 1 > $B/count/attach.ctl")
    mounted.ok("echo 'p:g __x64_sys_getppid' > $T/kprobe_events; echo 1 > $T/events/kprobes/g/enable")
    mounted.ok("bpffs run -m $M -- $M/../calls; cat $T/trace > /dev/null")
    daemon = mounted.daemon
    before = resident_kb(daemon)

    mounted.ok("echo 'p:x vfs_read' >> $T/kprobe_events")

    def churn() -> None:
        # Removing an event that was enabled would clear the buffer, so what is removed never was.
        mounted.ok("echo 1 > $T/events/kprobes/x/enable; echo 'p:y vfs_read' >> $T/kprobe_events")
        mounted.ok("echo 0 > $T/events/kprobes/x/enable; echo '-:y' >> $T/kprobe_events")

    pipe = mounted.start("exec cat $T/trace_pipe > $M/../out/pipe")
    try:
        with (
            Repeat(lambda: mounted.ok("cat $T/trace > /dev/null")) as trace,
            Repeat(lambda: mounted.ok("cat $B/count/maps/hits > /dev/null")) as hits,
            Repeat(churn) as changes,
        ):
            mounted.start("exec bpffs run -m $M -- $M/../calls").wait(240)
        for repeat in (trace, hits, changes):
            assert repeat.failure is None
            assert repeat.rounds > 0
        assert f"\n110: {2 * CALLS}\n" in mounted.ok("cat $B/count/maps/hits")
        profile = mounted.ok("cat $T/kprobe_profile").split()
        assert profile[:3] == ["g", str(2 * CALLS), "0"]
        assert wait_until(lambda: mounted.ok(EMPTY) == "0\n")
    finally:
        pipe.kill()
        pipe.wait()
    shown = [int(mounted.ok(f"grep -c '{name}' $M/../out/pipe")) for name in (" g: ", " [gx]: ")]
    lost = sum(int(count) for count in mounted.ok(LOST).split())
    assert 0 < shown[0] <= 2 * CALLS <= shown[1] + lost
    assert resident_kb(daemon) - before < 16 * 1024
