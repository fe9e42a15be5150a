"""What stands above the records in `trace` (kernel/trace/trace.c, `trace_default_header`)."""

import os

from tracefs.context import Context

__all__ = ["header"]

_IRQ_PICTURE = (
    "  _-----=> irqs-off/BH-disabled",
    " / _----=> need-resched",
    "| / _---=> hardirq/softirq",
    "|| / _--=> preempt-depth",
    "||| / _-=> migrate-disable",
    "|||| /     delay",
)
_LATENCY_PICTURE = (
    "#                    _------=> CPU#            ",
    "#                   / _-----=> irqs-off/BH-disabled",
    "#                  | / _----=> need-resched    ",
    "#                  || / _---=> hardirq/softirq ",
    "#                  ||| / _--=> preempt-depth   ",
    "#                  |||| / _-=> migrate-disable ",
    "#                  ||||| /     delay           ",
    "#  cmd     pid     |||||| time  |   caller     ",
    "#     \\   /        ||||||  \\    |    /       ",
)


def header(context: Context, entries: int, written: int) -> str:
    """The header for a buffer with `entries` events of `written` ever written."""
    options = context.options
    text = "# tracer: nop\n#\n"
    if not options["context-info"]:
        return text
    cpus = context.buffer.nr_cpus
    if options["latency-format"]:
        if entries:
            text += _latency(entries, written, cpus)
            if not options["verbose"]:
                text += "".join(line + "\n" for line in _LATENCY_PICTURE)
        return text
    if options["verbose"]:
        return text
    text += f"# entries-in-buffer/entries-written: {entries}/{written}   #P:{cpus}\n#\n"
    tgid = options["record-tgid"]
    task = "#           TASK-PID    " + ("   TGID   " if tgid else "")
    ruler = "#              | |      " + ("     |    " if tgid else "")
    if not options["irq-info"]:
        return f"{text}{task} CPU#     TIMESTAMP  FUNCTION\n{ruler}   |         |         |\n"
    indent = "#" + " " * (40 if tgid else 30)
    text += "".join(f"{indent}{line}\n" for line in _IRQ_PICTURE)
    return f"{text}{task} CPU#  |||||  TIMESTAMP  FUNCTION\n{ruler}   |   |||||     |         |\n"


def _latency(entries: int, written: int, cpus: int) -> str:
    """The head of latency-format; there is no task or latency to report under tracer nop."""
    bar = "#    -----------------\n"
    return (
        f"# nop latency trace v1.1.5 on {os.uname().release}\n"
        "# --------------------------------------------------------------------\n"
        f"# latency: 0 us, #{entries}/{written}, CPU#0 | (M:desktop VP:0, KP:0, SP:0 HP:0 #P:{cpus})\n"
        f"{bar}#    | task: -0 (uid:0 nice:0 policy:0 rt_prio:0)\n{bar}#\n"
    )
