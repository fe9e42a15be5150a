"""`python -m engine.vm`: the convention of conformance suites, refusals, accesses outside of memory."""

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.isa import assemble, encode
from engine.vm import main

_LENGTH = "r0 = r2\nexit"
_SWAP = "r0 = *(u32 *)(r1 +0)\nr0 = be32 r0\n*(u8 *)(r1 +1) = 7\nr3 = *(u8 *)(r1 +1)\nr0 += r3\nexit"


@pytest.fixture(params=["--interpret", "--jit"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(
    engine: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> "Run":  # fmt: skip
    return Run(engine, monkeypatch, capfd)


class Run:
    """The command in this process: (status, standard output, standard error)."""

    def __init__(self, engine: str, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._engine, self._patch, self._capture = engine, patch, capture

    def __call__(self, text: str, *memory: str, program_hex: str | None = None) -> tuple[int, str, str]:
        source = encode(assemble(text)).hex(" ") if program_hex is None else program_hex
        self._patch.setattr(sys, "stdin", io.StringIO(source))
        status = main([self._engine, *memory])
        out, err = self._capture.readouterr()
        return status, out, err


def test_memory_and_its_length(run: Run) -> None:
    assert run(_LENGTH, "0011223344")[:2] == (0, "5\n")
    assert run(_SWAP, "01 02 03 04")[:2] == (0, "102030b\n")


def test_empty_arguments_count_as_none(run: Run) -> None:
    assert run(_LENGTH, "", "")[:2] == (0, "0\n")
    assert run(_LENGTH, "00  11  ", "")[:2] == (0, "2\n")


def test_without_memory_both_registers_are_zero(run: Run) -> None:
    assert run("r0 = r1\nr0 |= r2\nr0 |= 1\nexit")[:2] == (0, "1\n")


def test_result_is_64_bits_unsigned(run: Run) -> None:
    assert run("r0 = -1\nexit")[:2] == (0, "ffffffffffffffff\n")


def test_hex_may_be_spaced_and_prefixed(run: Run) -> None:
    spaced = "0xb7 0x00 0x00 0x00\n0x2a 0x00 0x00 0x00, 9500000000000000\n"
    assert run("", program_hex=spaced)[:2] == (0, "2a\n")


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("", "no instructions"),
        ("b7", "not a whole number of instructions"),
        ("zz", "non-hexadecimal"),
        ("b700000001000000", "runs past its end"),
        ("ff00000000000000 9500000000000000", "unknown opcode ff"),
        ("b700010001000000 9500000000000000", "reserved field OFF"),
        ("b70b000001000000 9500000000000000", "no such register"),
        ("b70a000001000000 9500000000000000", "frame pointer is read only"),
        ("0500050000000000 9500000000000000", "jump to 6"),
        ("1800000001000000 9500000000000000", "LD_IMM64"),
        ("8500000001000000 9500000000000000", "there is no function 1"),
        ("1811000001000000 0000000000000000 9500000000000000", "there are no maps"),
        ("8d00000000000000 9500000000000000", "callx is not allowed"),
        ("db01000077000000 9500000000000000", "no atomic operation 0x77"),
        ("d400000008000000 9500000000000000", "no byte swap of 8 bits"),
        ("0500010000000000 1800000001000000 0000000000000000 9500000000000000", "jump to 2"),
        ("79a0000000000000 9500000000000000", "no stack at r10+0, 8 bytes"),
        ("61a0fdff00000000 9500000000000000", "no stack at r10-3, 4 bytes"),
        ("7a0af8fd00000000 9500000000000000", "no stack at r10-520, 8 bytes"),
        ("db0af8fd01000000 9500000000000000", "no stack at r10-520, 8 bytes"),
        ("dba0f8fd00010000 9500000000000000", "no stack at r10-520, 8 bytes"),
    ],
)
def test_refusals_say_why(run: Run, program: str, reason: str) -> None:
    status, out, err = run("", program_hex=program)
    assert (status, out) == (1, "")
    assert reason in err


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("r0 = *(u64 *)(r1 +0)\n*(u64 *)(r1 +0) = 1", []),
        ("r1 = -1\nr0 = *(u64 *)(r1 +0)", []),
        ("r0 = *(u16 *)(r1 +4)", ["0011223344"]),
        ("r0 = *(u8 *)(r1 +5)", ["0011223344"]),
        ("*(u8 *)(r1 +8192) = 1", ["00" * 8192]),
        ("r0 = *(u8 *)(r1 -4096)", ["00" * 4096]),
        ("r0 = 1\nlock *(u64 *)(r1 +8) += r0", ["00" * 8]),
    ],
)
def test_leaving_the_memory_is_an_error_not_a_crash(run: Run, text: str, memory: list[str]) -> None:
    status, out, err = run(text + "\nexit", *memory)
    assert (status, out) == (1, "")
    assert "EFAULT" in err


def test_all_of_the_memory_may_be_used(run: Run) -> None:
    text = "r0 = *(u8 *)(r1 +4)\n*(u16 *)(r1 +3) = 7\nr2 = *(u16 *)(r1 +3)\nr0 += r2\nexit"
    assert run(text, "0011223344")[:2] == (0, f"{0x44 + 7:x}\n")


def calls(depth: int) -> str:
    """A program whose calls nest so deep, and which gives that number."""
    lines = ["r0 = 0"]
    for level in range(1, depth):
        lines += [f"call f{level}", "r0 += 1", "exit", f"f{level}: r0 = 0"]
    return "\n".join([*lines, "r0 += 1", "exit"])


def test_calls_nest_eight_deep(run: Run) -> None:
    assert run(calls(8))[:2] == (0, "8\n")
    loops = ("call f\nexit\nf: call f\nexit", "call f\nexit\nf: call g\nexit\ng: call f\nexit")
    for text in (calls(9), *loops):
        status, out, err = run(text)
        assert (status, out) == (1, "")
        assert "calls nest more than 8 deep" in err


_ENDLESS = "top: goto top\nexit"


def test_an_endless_program_can_be_interrupted(run: Run) -> None:
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        assert run(_ENDLESS) == (128 + signal.SIGINT, "", "")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_native_code_ends_with_the_command(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "engine.vm", "--jit"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(encode(assemble(_ENDLESS)).hex())
        process.stdin.close()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not children.read_text() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        try:
            # The end of standard error comes when every process that holds it is gone.
            assert process.stderr.read() == ""
        finally:
            process.kill()
    assert process.returncode == (128 + number if number == signal.SIGINT else -number)


def test_an_answer_that_cannot_be_written_is_an_error() -> None:
    command = [sys.executable, "-m", "engine.vm", "--interpret"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command,
            input="b700000001000000 9500000000000000",
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "engine.vm: [Errno 28] No space left on device\n"
