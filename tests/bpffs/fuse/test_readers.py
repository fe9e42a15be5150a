"""What /proc says about tasks that wait."""

import os
import signal
import subprocess
import threading
from pathlib import Path

from bpffs.fuse.readers import find_reader, signal_waits


def test_signals_that_wait() -> None:
    with subprocess.Popen(["sleep", "30"]) as process:
        try:
            assert signal_waits(process.pid) is False
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            process.send_signal(signal.SIGTERM)
            assert signal_waits(process.pid) is True
        finally:
            process.kill()
    assert signal_waits(process.pid) is None


def test_blocked_and_ignored_signals_do_not_count() -> None:
    blocked = {signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        assert signal_waits(threading.get_native_id()) is False
        assert signal.sigwait(blocked) == signal.SIGUSR1
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)


def test_the_reader_is_found_by_its_descriptor(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    descriptor = os.open(fifo, os.O_RDWR)
    try:
        with subprocess.Popen(["cat"], stdin=descriptor, stdout=subprocess.DEVNULL) as process:
            try:
                while not Path(f"/proc/{process.pid}/syscall").read_text().startswith("0 0x0 "):
                    pass
                for likely in (process.pid, os.getpid(), 0):
                    reader = find_reader(likely, "fifo", fifo.stat().st_ino)
                    assert reader is not None
                    assert reader.tid == process.pid
                    assert reader.flags & os.O_ACCMODE == os.O_RDWR
                assert find_reader(process.pid, "other", fifo.stat().st_ino) is None
            finally:
                process.kill()
    finally:
        os.close(descriptor)
