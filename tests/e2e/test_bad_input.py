"""Nonsense from users: a clear errno, the daemon lives, everything else still works."""

import errno
import os
import random
from pathlib import Path

import pytest

from tests.e2e.conftest import EXAMPLES, Shell

_FINE = (
    "EINVAL ENOENT EPERM EBUSY ENODEV ESRCH EEXIST E2BIG ENOSPC EFBIG EACCES ENOEXEC EOPNOTSUPP ERANGE ENOMEM"
    " EILSEQ EBADF EFAULT ENAMETOOLONG EOVERFLOW ELOOP"
)
FINE = {getattr(errno, name) for name in _FINE.split()}
"""Errnos with which Linux answers nonsense. EIO is not among them: it stands for a defect of ours."""


def outcome(path: Path, data: bytes, flags: int = os.O_WRONLY) -> int:
    """Open, write once, close: 0 or the first errno."""
    number = 0
    try:
        descriptor = os.open(path, flags, 0o644)
    except OSError as error:
        return error.errno or 0
    try:
        os.write(descriptor, data)
    except OSError as error:
        number = error.errno or 0
    try:
        os.close(descriptor)
    except OSError as error:
        number = number or error.errno or 0
    return number


def assert_all_well(shell: Shell) -> None:
    """No defect was logged, and the main road is open."""
    log = shell.ok("bpffs status").split("log ")[1].splitlines()[0]
    assert "Traceback" not in Path(log).read_text(errors="replace")
    shell.ok("echo 1 > $T/tracing_on; echo > $T/kprobe_events; echo > $T/trace")
    shell.ok("cp $EXAMPLES/count.bpf.o $B/well.bpf.o; echo 1 > $B/well/attach.ctl")
    shell.ok(
        "echo 'p:o do_sys_openat2 f=+0(%si):ustring' > $T/kprobe_events; echo 1 > $T/events/kprobes/o/enable"
    )
    shell.ok("bpffs run -m $M -- cat /etc/hostname")
    shell.ok("grep -q /etc/hostname $T/trace; grep -q '^257: ' $B/well/maps/hits; rm -r $B/well")


_WORDS = "p: r: x do_sys_openat2 %si +0( ) 1 -1 0 = : ustring update key value ! * 99999999999 type hash"
WORDS = [*_WORDS.encode().split(), b" ", b"\n", b"\0", b"\xff"]


def noise(rng: random.Random) -> bytes:
    """Bytes of many kinds: random, text, almost right."""
    if rng.random() < 0.3:
        return rng.randbytes(rng.choice((1, 10, 100, 5000)))
    return b"".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 30)))


@pytest.mark.parametrize("seed", range(2))
def test_random_writes_to_every_writable_file(mounted: Shell, seed: int) -> None:
    rng = random.Random(seed)
    mounted.ok("echo 'p:o do_sys_openat2' > $T/kprobe_events; cp $EXAMPLES/count.bpf.o $B/")
    mounted.ok("echo 'type hash key 4 value 8 entries 8' > $B/h.map")
    listed = mounted.ok("find $M -type f -perm /222 -not -path '*/syscalls/*'").split()
    files = [Path(name) for name in listed] + [mounted.mount / "sys/fs/bpf/h.ctl"]
    assert len(files) > 20
    for path in files:
        for _ in range(6):
            number = outcome(path, noise(rng), rng.choice((os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC)))
            is_pin = path.parent.name in ("maps", "progs", "links") or path.parent.name == "bpf"
            assert number == 0 or number in FINE or (number == errno.EIO and is_pin), (
                path,
                os.strerror(number),
            )
    assert_all_well(mounted)


def test_random_and_truncated_objects(mounted: Shell) -> None:
    rng = random.Random(1)
    good = [path.read_bytes() for path in sorted(EXAMPLES.glob("*.bpf.o"))]
    bpf = mounted.mount / "sys/fs/bpf"
    for number in range(60):
        data = bytearray(rng.choice(good))
        match number % 3:
            case 0:
                del data[rng.randrange(len(data)) :]
            case 1:
                for _ in range(rng.randrange(1, 20)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
            case 2:
                data = bytearray(b"\x7fELF\2\1\1" + rng.randbytes(rng.randrange(3000)))
        answer = outcome(bpf / f"x{number}.bpf.o", bytes(data), os.O_WRONLY | os.O_CREAT)
        assert answer == 0 or answer in FINE, (number, os.strerror(answer))
        if answer:
            assert not (bpf / f"x{number}").exists()
    assert_all_well(mounted)


def test_random_maps(mounted: Shell) -> None:
    rng = random.Random(2)
    for number in range(100):
        kind = rng.choice(
            ("hash", "array", "percpu_array", "ringbuf", "queue", "nosuch", "stack_trace", "prog_array")
        )
        sizes = [rng.choice((0, 1, 3, 4, 8, 64, 1 << 20, 1 << 31, -1)) for _ in range(4)]
        line = (
            f"type {kind} key {sizes[0]} value {sizes[1]} entries {sizes[2]} flags {max(sizes[3], 0) & 7}\n"
        )
        answer = outcome(mounted.mount / f"sys/fs/bpf/m{number}.map", line.encode(), os.O_WRONLY | os.O_CREAT)
        assert answer == 0 or answer in FINE, (line, os.strerror(answer))
    mounted.ok("rm -f $B/m*")
    assert_all_well(mounted)


def test_too_large_an_object(mounted: Shell) -> None:
    result = mounted("head -c 20000000 /dev/zero > $B/big.bpf.o")
    assert "File too large" in result.err
    assert_all_well(mounted)


def test_a_killed_copy_leaves_only_a_log(mounted: Shell) -> None:
    mounted(
        "(head -c 1000 $EXAMPLES/count.bpf.o; exec sleep 30) > $B/part.bpf.o & sleep 0.3; kill -9 $!; wait"
    )
    assert mounted.ok("ls -A $B") == "part.log\n"
    assert mounted.ok("cat $B/part.log").startswith("ENOEXEC: ")
    assert mounted.ok("cp $EXAMPLES/count.bpf.o $B/part.bpf.o; ls $B/part/maps") == "hits\n"
