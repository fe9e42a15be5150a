"""Running a program on data that the caller gives: BPF_PROG_TEST_RUN (net/bpf/test_run.c).

`request` says what is asked and what comes out, `runner` runs, and one module for each kind of context makes
it: `skb`, `xdp`, and `plain` for contexts that are what the caller gives. Nothing here keeps state.
"""

from engine.testrun.dispatch import run_on_data
from engine.testrun.request import Given, RunRequest, RunResult

__all__ = ["Given", "RunRequest", "RunResult", "run_on_data"]
