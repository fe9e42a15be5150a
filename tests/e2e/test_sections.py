"""Programs attached by what their sections say, and maps that objects share by name."""

import shutil

import pytest

from tests.e2e.conftest import Shell, wait_until

SOURCE = """\
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

static int count(__u32 key)
{
	__u64 *value = bpf_map_lookup_elem(&seen, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_getppid") int plain(void *ctx) { return count(0); }
SEC("tp/syscalls/sys_exit_getppid") int plain_exit(void *ctx) { return count(1); }
SEC("raw_tp/sys_enter") int raw(struct bpf_raw_tracepoint_args *ctx)
{
	return ctx->args[1] == 110 ? count(2) : 0;
}
SEC("kretsyscall/getppid") int returned(void *ctx) { return count(3); }
char LICENSE[] SEC("license") = "GPL";
"""
HEADER = "# WARNING!! The output is for debug purpose only\n# WARNING!! The output format will change\n"


@pytest.fixture
def built(mounted: Shell) -> Shell:
    """`$M/../sections.bpf.o` is there."""
    if shutil.which("clang") is None:
        pytest.skip("needs clang")
    (mounted.mount.parent / "sections.bpf.c").write_text(SOURCE)
    outcome = mounted(
        "cd $M/..; clang -O2 -g -target bpf -mcpu=v2 -I/usr/include/$(uname -m)-linux-gnu"
        " -c sections.bpf.c -o sections.bpf.o"
    )
    if "bpf_helpers.h' file not found" in outcome.err:
        pytest.skip("needs libbpf-dev")
    assert outcome.status == 0, outcome
    return mounted


def counted(number: int) -> str:
    return HEADER + "".join(f"{key}: {number}\n" for key in range(4))


def test_every_kind_of_section_fires_once_a_call(built: Shell) -> None:
    built.ok("cp $M/../sections.bpf.o $B/; echo 1 > $B/sections/attach.ctl")
    assert built.ok("ls $B/sections/links").split() == ["plain", "plain_exit", "raw", "returned"]
    built.ok("bpffs run -m $M -- python3 -c 'import os; [os.getppid() for _ in range(100)]'")
    assert built.ok("cat $B/seen") == counted(100)
    assert "raw_tp/sys_enter  hits " in built.ok("cat $B/sections/links/raw.info")
    built.ok("rm $B/sections/links/raw; bpffs run -m $M -- python3 -c 'import os; os.getppid()'")
    assert built.ok("cat $B/seen") == counted(101).replace("2: 101", "2: 100")


def test_a_map_pinned_by_name_is_shared_and_stays(built: Shell) -> None:
    built.ok("cp $M/../sections.bpf.o $B/; cp $M/../sections.bpf.o $B/second.bpf.o")
    assert built.ok("cd $B; stat -c %h seen sections/maps/seen second/maps/seen") == "3\n3\n3\n"
    assert "  maps: 1\n" in built.ok("bpffs status")
    built.ok("rm -r $B/sections $B/second")
    assert wait_until(lambda: "  programs: 0\n" in built.ok("bpffs status"))
    assert built.ok("cat $B/seen") == counted(0)
    built.ok("rm $B/seen")
    assert wait_until(lambda: "  maps: 0\n" in built.ok("bpffs status"))
