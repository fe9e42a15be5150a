"""An object whose verification takes a minute: others are served, and who loads it can be stopped."""

import signal
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Shell
from tests.engine.loader.compiled import compile_c

SOON = 8.0
"""Seconds after which a wait counts as hung."""

_CLOSE = "3"
_SLOW = """
SEC("kprobe/do_sys_openat2") int slow(void *ctx)
{
	asm volatile("r6 = 0; 1: r6 += 1; if r6 != 0x7fffffff goto 1b;" ::: "r6");
	return 0;
}
"""


def _wait_for_close(pid: int) -> None:
    """Wait until a process is in close(2)."""
    end = time.monotonic() + SOON
    while Path(f"/proc/{pid}/syscall").read_text().split()[0] != _CLOSE:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it(mounted: Shell, tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "slow.bpf.o").write_bytes(compile_c(_SLOW))
    load = mounted.start(f"exec cp {tmp_path}/slow.bpf.o $M/sys/fs/bpf/")
    try:
        _wait_for_close(load.pid)
        assert "slow" not in mounted.ok("ls $M/sys/fs/bpf").split()
        mounted.ok("echo 'type array key 4 value 8 entries 1' > $M/sys/fs/bpf/mine.map")
        assert "Found 1 element" in mounted.ok("cat $M/sys/fs/bpf/mine.hex")
        load.send_signal(number)
        assert load.wait(SOON) == -number
    finally:
        load.kill()
        load.communicate()
    assert "verification was interrupted" in mounted.ok("cat $M/sys/fs/bpf/slow.log")
