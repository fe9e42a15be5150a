"""The tree of the mount: what is where, whose, with which mode."""

from tests.e2e.conftest import Shell

ROWS = """\
drwxr-xr-x 0:0 .
-rw-r--r-- 0:0 procs
dr-xr-xr-x 0:0 sys
drwxr-xr-x 0:0 sys/bus/event_source/devices
drwxr-xr-x 0:0 sys/fs
drwxrwxrwt 0:0 sys/fs/bpf
drwxr-xr-x 0:0 sys/kernel
drwxr-xr-x 0:0 sys/kernel/btf
-r--r--r-- 0:0 sys/kernel/btf/vmlinux
drwx------ 0:0 sys/kernel/debug
lrwxrwxrwx 0:0 sys/kernel/debug/tracing
drwx------ 0:0 sys/kernel/tracing
lrwxrwxrwx 0:0 tracefs
"""


def test_modes_and_owners(mounted: Shell) -> None:
    paths = " ".join(row.split()[2] for row in ROWS.splitlines())
    assert mounted.ok(f"cd $M; stat -c '%A %u:%g %n' {paths}") == ROWS


def test_links_lead_to_tracefs(mounted: Shell) -> None:
    assert mounted.ok("readlink $M/tracefs $M/sys/kernel/debug/tracing") == "sys/kernel/tracing\n../tracing\n"
    assert mounted.ok("stat -L -c %i $M/tracefs $M/sys/kernel/debug/tracing $T | uniq | wc -l") == "1\n"


def test_event_sources(mounted: Shell) -> None:
    devices = "$M/sys/bus/event_source/devices"
    assert mounted.ok(f"cat {devices}/kprobe/type | od -c") == "0000000   6  \\n\n0000002\n"
    assert mounted.ok(f"cd {devices}; cat uprobe/type tracepoint/type software/type") == "8\n2\n1\n"
    assert mounted.ok(f"cat {devices}/kprobe/format/retprobe") == "config:0\n"
    assert mounted.ok(f"cat {devices}/uprobe/format/*") == "config:32-63\nconfig:0\n"
    assert mounted.ok(f"readlink {devices}/kprobe") == "../../../devices/kprobe\n"
    assert mounted.ok(f"stat -Lc '%A %s' {devices}/kprobe/type") == "-r--r--r-- 4096\n"


def test_the_one_writable_attribute(mounted: Shell) -> None:
    place = "$M/sys/bus/event_source/devices/kprobe/perf_event_mux_interval_ms"
    outcome = mounted(f"cat {place}; for v in 8 0 -1 x; do echo $v > {place}; echo rc=$?; done; cat {place}")
    assert outcome.out == "0\nrc=0\nrc=1\nrc=1\nrc=1\n8\n"
    assert outcome.err.count("Invalid argument") == 3


def test_vmlinux_is_btf(mounted: Shell) -> None:
    size = int(mounted.ok("stat -c %s $M/sys/kernel/btf/vmlinux"))
    content = mounted.ok("head -c 2 $M/sys/kernel/btf/vmlinux | od -An -tx2")
    assert content.split() == ["eb9f"]
    assert int(mounted.ok("wc -c < $M/sys/kernel/btf/vmlinux")) == size


def test_nothing_can_be_made_where_nothing_belongs(mounted: Shell) -> None:
    outcome = mounted("cd $M; mkdir x; touch sys/x; ln -s a b; rm procs; mv sys y")
    assert outcome.status != 0
    assert outcome.err.count("\n") == 5
    assert mounted.ok("ls -A $M") == ".status.json\nprocs\nsys\ntracefs\n"
