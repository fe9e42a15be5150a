"""Process ids across pid namespaces, against what unshare(1) makes."""

import errno
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bpffs.pidns import pid_for, pid_from
from engine.errors import KernelError

NEST = """\
echo $$
sleep 60 &
echo $!
unshare -pf --kill-child sh -c 'echo $$; sleep 60 & echo $!; wait'
"""


@dataclass(frozen=True)
class Nest:
    """A shell (1) and its sleeper in a namespace, and the same once more below it; by our ids."""

    shell: int
    sleeper: int
    inner_shell: int
    inner_sleeper: int
    numbers: dict[str, int]


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def nest() -> Iterator[Nest]:
    command = ["unshare", "-pf", "--kill-child", "sh", "-c", NEST]
    if os.geteuid() != 0:
        command.insert(1, "-Ur")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            said = [process.stdout.readline().strip() for _ in range(4)]
            if not all(said):
                pytest.skip("no pid namespace can be made here")
            (shell,) = children(process.pid)
            sleeper, unshare = children(shell)
            (inner_shell,) = children(unshare)
            (inner_sleeper,) = children(inner_shell)
            yield Nest(
                shell, sleeper, inner_shell, inner_sleeper, {"sleeper": int(said[1]), "inner": int(said[3])}
            )
        finally:
            process.kill()


def test_our_own_namespace_counts_as_we_do() -> None:
    me = os.getpid()
    assert pid_from(me, me) == me
    assert pid_from(me, 1) == 1
    assert pid_for(me, 1) == 1


def test_a_caller_that_we_cannot_see_sees_nobody() -> None:
    """FUSE calls it 0."""
    with pytest.raises(KernelError) as raised:
        pid_from(0, os.getpid())
    assert raised.value.errno == errno.ESRCH
    assert pid_for(0, os.getpid()) is None


def test_numbers_count_in_the_namespace_of_the_caller(nest: Nest) -> None:
    for caller in (nest.shell, nest.sleeper):
        assert pid_from(caller, 1) == nest.shell
        assert pid_from(caller, nest.numbers["sleeper"]) == nest.sleeper
        assert pid_for(caller, nest.sleeper) == nest.numbers["sleeper"]
    for caller in (nest.inner_shell, nest.inner_sleeper):
        assert pid_from(caller, 1) == nest.inner_shell
        assert pid_from(caller, nest.numbers["inner"]) == nest.inner_sleeper
        assert pid_for(caller, nest.inner_shell) == 1


def test_who_is_not_in_the_namespace_is_not_seen(nest: Nest) -> None:
    with pytest.raises(KernelError) as raised:
        pid_from(nest.shell, 999_999)
    assert raised.value.errno == errno.ESRCH
    assert pid_for(nest.shell, os.getpid()) is None
    assert pid_for(nest.inner_shell, nest.shell) is None


def test_namespaces_below_are_seen(nest: Nest) -> None:
    number = pid_for(nest.shell, nest.inner_sleeper)
    assert number not in (None, nest.numbers["inner"])
    assert number is not None
    assert pid_from(nest.shell, number) == nest.inner_sleeper
