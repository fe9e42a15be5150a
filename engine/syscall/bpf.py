"""bpf(2): one row per command."""

import errno
from collections.abc import Callable

from engine.abi.bpf import Cmd
from engine.errors import KernelError
from engine.machine import Machine
from engine.syscall import batch, btfcmds, elems, info, linkcmds, mapcmds, progcmds, progload, testrun
from engine.syscall.attr import Attr, read_attr
from engine.syscall.caller import BpfCaller

__all__ = ["COMMANDS", "bpf"]

Command = Callable[[Machine, BpfCaller, Attr], int]

COMMANDS: dict[Cmd, Command] = {
    Cmd.MAP_CREATE: mapcmds.map_create,
    Cmd.MAP_LOOKUP_ELEM: elems.lookup_elem,
    Cmd.MAP_UPDATE_ELEM: elems.update_elem,
    Cmd.MAP_DELETE_ELEM: elems.delete_elem,
    Cmd.MAP_GET_NEXT_KEY: elems.get_next_key,
    Cmd.MAP_LOOKUP_AND_DELETE_ELEM: elems.lookup_and_delete_elem,
    Cmd.MAP_FREEZE: mapcmds.map_freeze,
    Cmd.MAP_LOOKUP_BATCH: batch.lookup_batch,
    Cmd.MAP_LOOKUP_AND_DELETE_BATCH: batch.lookup_and_delete_batch,
    Cmd.MAP_UPDATE_BATCH: batch.update_batch,
    Cmd.MAP_DELETE_BATCH: batch.delete_batch,
    Cmd.PROG_LOAD: progload.prog_load,
    Cmd.PROG_TEST_RUN: testrun.prog_test_run,
    Cmd.PROG_GET_NEXT_ID: progcmds.prog_get_next_id,
    Cmd.PROG_GET_FD_BY_ID: progcmds.prog_get_fd_by_id,
    Cmd.PROG_BIND_MAP: linkcmds.prog_bind_map,
    Cmd.LINK_CREATE: linkcmds.link_create,
    Cmd.LINK_DETACH: linkcmds.link_detach,
    Cmd.LINK_GET_NEXT_ID: linkcmds.link_get_next_id,
    Cmd.LINK_GET_FD_BY_ID: linkcmds.link_get_fd_by_id,
    Cmd.RAW_TRACEPOINT_OPEN: linkcmds.raw_tracepoint_open,
    Cmd.BTF_LOAD: btfcmds.btf_load,
    Cmd.BTF_GET_NEXT_ID: btfcmds.btf_get_next_id,
    Cmd.BTF_GET_FD_BY_ID: btfcmds.btf_get_fd_by_id,
    Cmd.ENABLE_STATS: progcmds.enable_stats,
    Cmd.OBJ_GET_INFO_BY_FD: info.get_info_by_fd,
    Cmd.MAP_GET_NEXT_ID: mapcmds.map_get_next_id,
    Cmd.MAP_GET_FD_BY_ID: mapcmds.map_get_fd_by_id,
}


def bpf(machine: Machine, caller: BpfCaller, command: int, attr: int, size: int) -> int:
    """One call with an attr of `size` bytes at address `attr` of the caller: its result.

    Raises KernelError with the errno of the call: EINVAL for a command that there is not.
    """
    fields = read_attr(caller.memory, attr, size)
    row = COMMANDS.get(Cmd(command)) if command in Cmd.__members__.values() else None
    if row is None:
        raise KernelError(errno.EINVAL, f"no bpf command {command}")
    return row(machine, caller, fields)
