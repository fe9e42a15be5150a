"""An ordinary user mounts, probes and unmounts: through fusermount3, and as root of a user namespace."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Outcome, Shell

USER = 1000

SCRIPT = """\
set -e
id -u
bpffs mount $M
stat -c '%u %A' $M/sys/kernel/tracing $M/sys/fs/bpf $M/procs
grep " $M " /proc/mounts | cut -d' ' -f3
echo 'p:o do_sys_openat2 f=+0(%si):ustring' > $M/tracefs/kprobe_events
echo 1 > $M/tracefs/events/kprobes/o/enable
bpffs run -- cat /etc/hostname > /dev/null
grep -c 'f="/etc/hostname"' $M/tracefs/trace
sleep 100 & echo $! > $M/procs; cat $M/procs | wc -l; echo -$! > $M/procs; kill $!
cp $EXAMPLES/count.bpf.o $M/sys/fs/bpf/
stat -c '%u %A' $M/sys/fs/bpf/count/maps/hits
echo 1 > $M/sys/fs/bpf/count/attach.ctl
bpffs run -- true
grep -c '^231: 1$' $M/sys/fs/bpf/count/maps/hits
mkdir $M/sys/fs/bpf/d; stat -c %u $M/sys/fs/bpf/d
chown 0 $M/sys/fs/bpf/d 2>&1 | sed 's/.*: //'
bpffs status | grep -c daemon
bpffs umount $M
grep -c " $M " /proc/mounts || true
bpffs status
"""

EXPECTED = f"""\
{USER}
{USER} drwx------
{USER} drwxrwxrwt
{USER} -rw-r--r--
fuse.bpffs
1
1
{USER} -rw-------
1
{USER}
Operation not permitted
1
0
nothing is mounted
"""


def interpreter(environment: dict[str, str], *prefix: str) -> list[str]:
    """A Python that the other user can run with our packages. Skips when there is none."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        script = f"{candidate} -c 'import bpffs.cli, pyfuse3, llvmlite, trio'"
        command = [*prefix, "sh", "-c", script]
        if subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0:
            return [candidate]
    pytest.skip(f"no Python that user {USER} can run has our packages")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that another user may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="bpffs-test-") as directory:
        path = Path(directory)
        path.chmod(0o755)
        yield path


@pytest.fixture
def user(shell: Shell) -> dict[str, str]:
    """The environment of user 1000, who owns the directory to mount on."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    base = shell.mount.parent
    home = base / "home"
    for path in (home, base / "run"):
        path.mkdir(mode=0o700)
    for path in (home, base / "run", shell.mount):
        os.chown(path, USER, USER)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    environment = shell.environment | {"HOME": str(home), "PYTHONPATH": f"{ROOT}:{packages}"}
    environment.pop("XDG_CACHE_HOME", None)
    python = interpreter(environment, "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")
    tool = base / "bin" / "bpffs"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec {python[0]} -m bpffs.cli "$@"\n')
    tool.chmod(0o755)
    return environment | {"PATH": f"{tool.parent}:{os.environ['PATH']}"}


def run(command: list[str], environment: dict[str, str]) -> Outcome:
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_an_ordinary_user(user: dict[str, str], place: Path) -> None:
    """With a /dev/fuse that everybody may open, as udev makes it, in a mount namespace of our own."""
    device = place / "fuse"
    try:
        os.mknod(device, 0o20666, os.makedev(10, 229))
    except OSError as error:
        pytest.skip(f"cannot make a device node: {error}")
    device.chmod(0o666)
    script = place / "script"
    script.write_text(SCRIPT)
    become = f"exec setpriv --reuid={USER} --regid={USER} --clear-groups bash {script}"
    outcome = run(["unshare", "-m", "bash", "-c", f"mount --bind {device} /dev/fuse && {become}"], user)
    if "unshare" in outcome.err:
        pytest.skip(f"cannot make a mount namespace: {outcome.err}")
    assert (outcome.out, outcome.err, outcome.status) == (EXPECTED, "", 0)


def test_a_missing_fusermount3_is_said(user: dict[str, str], place: Path) -> None:
    device = place / "fuse"
    os.mknod(device, 0o20666, os.makedev(10, 229))
    device.chmod(0o666)
    tool = Path(user["PATH"].split(":", 1)[0]) / "bpffs"
    become = f"exec setpriv --reuid={USER} --regid={USER} --clear-groups env PATH=/nowhere {tool} mount $M"
    outcome = run(["unshare", "-m", "bash", "-c", f"mount --bind {device} /dev/fuse && {become}"], user)
    assert (outcome.err, outcome.out, outcome.status) == (
        "bpffs: fusermount3 not found: install the package fuse3\n",
        "",
        1,
    )


def test_dev_fuse_that_cannot_be_opened_is_said(user: dict[str, str], place: Path) -> None:
    device = place / "fuse"
    os.mknod(device, 0o20600, os.makedev(10, 229))
    become = f"exec setpriv --reuid={USER} --regid={USER} --clear-groups bpffs mount $M"
    outcome = run(["unshare", "-m", "bash", "-c", f"mount --bind {device} /dev/fuse && {become}"], user)
    assert (outcome.err, outcome.out, outcome.status) == ("bpffs: /dev/fuse: Permission denied\n", "", 1)


def test_a_missing_dev_fuse_is_said(shell: Shell) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to hide /dev/fuse")
    outcome = shell("unshare -m bash -c 'mount -t tmpfs none /dev && exec bpffs mount $M'")
    assert outcome.status == 1
    assert outcome.err == "bpffs: /dev/fuse is missing: load the kernel module fuse (modprobe fuse)\n"


def test_root_of_a_user_namespace(shell: Shell) -> None:
    """`unshare -Urm` and binding over the real places, as DESIGN.md promises."""
    outcome = shell(
        "unshare -Urm bash -ec 'bpffs mount $M; mount --bind $M/sys/kernel/tracing /sys/kernel/tracing;"
        " echo here > /sys/kernel/tracing/trace_marker; grep -c here /sys/kernel/tracing/trace;"
        " bpffs run -- true; umount /sys/kernel/tracing; bpffs umount $M; bpffs status'"
    )
    if "unshare" in outcome.err:
        pytest.skip(f"no user namespaces: {outcome.err}")
    assert (outcome.out, outcome.err, outcome.status) == ("1\nnothing is mounted\n", "", 0)
