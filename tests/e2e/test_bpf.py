"""/sys/fs/bpf with ordinary commands: golden transcript 14, and loading by copying."""

import os
import re

import pytest

from tests.e2e.conftest import EXAMPLES, Shell, wait_until


def in_bpf(shell: Shell, command: str) -> str:
    """Both outputs of a command run in /sys/fs/bpf, errors first, without bash's own prefix."""
    outcome = shell(f"cd $B; {command}")
    return outcome.err.replace("bash: line 1: ", "") + outcome.out


def test_directories(mounted: Shell) -> None:
    assert in_bpf(
        mounted,
        "mkdir d; mkdir d; mkdir -p e/f/g; mkdir -m 700 priv; stat -c '%n %a %h' d e e/f priv; rmdir e;"
        " rmdir e/f/g e/f e; rmdir nosuch; rmdir d priv; ls -A",
    ) == (
        "mkdir: cannot create directory 'd': File exists\n"
        "rmdir: failed to remove 'e': Directory not empty\n"
        "rmdir: failed to remove 'nosuch': No such file or directory\n"
        "d 755 2\ne 755 3\ne/f 755 3\npriv 700 2\n"
    )


def test_names(mounted: Shell) -> None:
    assert in_bpf(
        mounted,
        "mkdir a.b; mkdir .dot; mkdir 'a b'; mkdir a-b a_b a:b 'a*b' 'é';"
        " mkdir $(printf 'n%.0s' $(seq 255)) && echo ok255;"
        " mkdir $(printf 'n%.0s' $(seq 256)) 2>&1 | tail -c 20;"
        " ls -A | wc -l; rmdir a* n* $'\\303\\251'; ls -A",
    ) == (
        "mkdir: cannot create directory 'a.b': Operation not permitted\n"
        "mkdir: cannot create directory '.dot': Operation not permitted\n"
        "ok255\n File name too long\n7\n"
    )


def test_umask_and_group_inheritance(mounted: Shell) -> None:
    assert in_bpf(
        mounted,
        "umask 077; mkdir u; stat -c %a u; rmdir u; mkdir g; chmod 2777 g; mkdir g/h;"
        " stat -c '%n %A %u:%g' g g/h;"
        " chown 1000:1000 g; mkdir g/i; stat -c '%n %A %u:%g' g g/i; rmdir g/h g/i g",
    ) == ("700\ng drwxrwsrwx 0:0\ng/h drwx--S--- 0:0\ng drwxrwsrwx 1000:1000\ng/i drwx--S--- 0:1000\n")


def test_files_nodes_and_links(mounted: Shell) -> None:
    assert in_bpf(
        mounted,
        "touch f; echo x > f; cp /etc/passwd f; mknod f p; mknod f c 1 3; mkfifo f; ls -A;"
        " ln -s target sl; readlink sl; cat sl; ln -s /etc/passwd sl2; head -c4 sl2; echo;"
        " ln -s x a.b; ln -s x .dot;"
        " mv sl sl3; ls -A; rm sl3 sl2; ls -A",
    ) == (
        "touch: cannot touch 'f': Permission denied\n"
        "f: Permission denied\n"
        "cp: cannot create regular file 'f': Permission denied\n"
        "mknod: f: Operation not permitted\n"
        "mknod: f: Operation not permitted\n"
        "mkfifo: cannot create fifo 'f': Operation not permitted\n"
        "cat: sl: No such file or directory\n"
        "ln: failed to create symbolic link 'a.b': Operation not permitted\n"
        "ln: failed to create symbolic link '.dot': Operation not permitted\n"
        "target\nroot\nsl2\nsl3\n"
    )


def test_renames(mounted: Shell) -> None:
    assert in_bpf(
        mounted,
        "mkdir d1 d2; mv d1 d3; mv d3 d2; ls d2; mv d2/d3 d.3; ls -A; mv d2/d3 .; ls -A; mv -T d2 d3;"
        " mkdir d3/x; mkdir d4; mv -T d4 d3; rmdir d3/x d3 d4; ls -A",
    ) == (
        "mv: cannot stat 'd.3': Operation not permitted\n"
        "mv: cannot move 'd4' to 'd3': Directory not empty\n"
        "d3\nd2\nd2\nd3\n"
    )


def test_reserved_names(mounted: Shell) -> None:
    assert in_bpf(mounted, "cat maps.debug; rm maps.debug; chmod 644 progs.debug; ls -A") == (
        "cat: maps.debug: Operation not permitted\n"
        "rm: cannot remove 'maps.debug': Operation not permitted\n"
        "chmod: cannot access 'progs.debug': Operation not permitted\n"
    )


def test_a_wrong_line_for_a_map_is_an_error_that_the_shell_shows(mounted: Shell) -> None:
    assert in_bpf(
        mounted,
        "echo 'type nosuch key 4' > m.map; echo $?;"
        " printf 'type hash key 4 value 8 entries 4' > m.map; ls -A",
    ) == ("echo: write error: Invalid argument\n1\nm\n")


def test_a_pinned_map_without_types(mounted: Shell) -> None:
    assert in_bpf(
        mounted,
        "echo 'type array key 4 value 8 entries 4 name mymap' > m1.map; ls -A;"
        " stat -c '%n %A size=%s nlink=%h' m1;"
        " cat m1; echo x > m1; dd if=m1 bs=1 count=1; ln m1 m2; stat -c '%n %h' m1 m2; rm m2;"
        " ln m1 a.b; mv m1 m3;"
        " mkdir d; mv m3 d/; ls d; mv d/m3 m1; cp m1 m9; truncate -s 0 m1; touch m1; chmod 666 m1;"
        " stat -c '%n %A' m1; rmdir d; rm m1; ls -A",
    ) == (
        "cat: m1: Input/output error\n"
        "m1: Input/output error\n"
        "dd: failed to open 'm1': Input/output error\n"
        "ln: failed to create hard link 'a.b' => 'm1': Operation not permitted\n"
        "cp: cannot open 'm1' for reading: Input/output error\n"
        "truncate: cannot open 'm1' for writing: Input/output error\n"
        "m1\nm1 -rw------- size=0 nlink=1\nm1 2\nm2 2\nm3\nm1 -rw-rw-rw-\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_as_another_user(mounted: Shell) -> None:
    other = "setpriv --reuid=1000 --regid=1000 --clear-groups"
    mounted.ok("chmod 755 $M/..; while d=${d:-$M}; d=$(dirname $d); [ $d != / ]; do chmod a+x $d; done")
    mounted.ok("cp $EXAMPLES/count.bpf.o $M/../")
    assert in_bpf(
        mounted,
        f"{other} mkdir $B/user; {other} ln -s x $B/usl; stat -c '%n %A %u' user usl;"
        f" {other} cat $B/maps.debug;"
        f" mkdir mine; {other} rmdir $B/mine; rm -f usl; rmdir user mine; {other} ls $T;"
        f" {other} cp $M/../count.bpf.o $B/ 2>&1 | sed 's/.*: //'; {other} cat $M/procs;"
        f" {other} bash -c 'echo $$ > $M/procs' 2>&1 | sed 's/.*: //'; ls -A",
    ) == (
        f"cat: {mounted.mount}/sys/fs/bpf/maps.debug: Operation not permitted\n"
        f"rmdir: failed to remove '{mounted.mount}/sys/fs/bpf/mine': Operation not permitted\n"
        f"ls: cannot open directory '{mounted.mount}/sys/kernel/tracing': Permission denied\n"
        "user drwxr-xr-x 1000\nusl lrwxrwxrwx 1000\nOperation not permitted\nPermission denied\n"
    )


def test_map_commands_and_views(mounted: Shell) -> None:
    assert in_bpf(
        mounted,
        "echo 'type hash key 4 value 8 entries 8' > hits.map; echo 'update key 1 value 5' > hits.ctl;"
        " echo 'update key 2 0 0 0 value hex ff 00 00 00 00 00 00 01 noexist' > hits.ctl; sort hits.hex;"
        " echo 'delete key 1' > hits.ctl; cat hits.json; echo 'delete key 1' > hits.ctl;"
        " echo nonsense > hits.ctl;"
        " rm hits; cat hits.json",
    ) == (
        "echo: write error: No such file or directory\n"
        "echo: write error: Invalid argument\n"
        "cat: hits.json: Operation not permitted\n"
        "Found 2 elements\n"
        "key: 01 00 00 00  value: 05 00 00 00 00 00 00 00\n"
        "key: 02 00 00 00  value: ff 00 00 00 00 00 00 01\n"
        '[{"key":["0x02","0x00","0x00","0x00"],'
        '"value":["0xff","0x00","0x00","0x00","0x00","0x00","0x00","0x01"]}]\n'
    )


def test_maps_of_programs_and_maps(mounted: Shell) -> None:
    mounted.ok(
        "cp $EXAMPLES/count.bpf.o $B/; cd $B; echo 'type prog_array key 4 value 4 entries 2' > jumps.map"
    )
    for reference in ("pinned /sys/fs/bpf/count/progs/count", "name count", "id $(grep -o '^[0-9]*' C)"):
        command = f"C=$B/count/progs/count.info; echo update key 1 value {reference.replace('C', '$C')}"
        mounted.ok(f"{command} > $B/jumps.ctl")
        assert mounted.ok("cat $B/jumps.hex").splitlines()[-1] == "Found 1 element"
        mounted.ok("echo 'delete key 1' > $B/jumps.ctl")
    mounted.ok(
        "cd $B; inner='inner_map pinned count/maps/hits';"
        " echo type hash_of_maps key 4 value 4 entries 2 $inner > outer.map;"
        " echo 'update key 7 value name hits' > outer.ctl"
    )
    number = mounted.ok("cut -d: -f1 $B/count/maps/hits.info | head -1").strip()
    assert mounted.ok("cat $B/outer.hex").startswith(f"key: 07 00 00 00  value: {int(number):02x} 00 00 00\n")
    assert "Invalid argument" in mounted("echo 'update key 1 value 5' > $B/jumps.ctl").err
    assert "No such file" in mounted("echo 'update key 7 value name nosuch' > $B/outer.ctl").err


def test_loading_attaching_unloading(mounted: Shell) -> None:
    mounted.ok("cp $EXAMPLES/count.bpf.o $B/")
    assert mounted.ok("cd $B; find . -mindepth 1 | sort") == (
        "./count\n./count/attach.ctl\n./count/links\n./count/maps\n./count/maps/hits\n./count/progs\n"
        "./count/progs/count\n"
    )
    assert (
        mounted.ok("cat $B/count/attach.ctl; echo 1 > $B/count/attach.ctl; cat $B/count/attach.ctl")
        == "0\n1\n"
    )
    assert mounted.ok("ls $B/count/links") == "count\n"
    status = mounted.ok("bpffs status")
    assert "programs: 1" in status
    assert "maps: 1" in status
    assert "probes: 1" in status
    mounted.ok("rm $B/count/links/count")
    assert mounted.ok("cat $B/count/attach.ctl") == "0\n"
    mounted.ok("echo 1 > $B/count/attach.ctl; rm -r $B/count")
    assert mounted.ok("ls -A $B") == ""
    for title in ("programs", "maps", "probes"):
        assert wait_until(lambda title=title: f"  {title}: 0" in mounted.ok("bpffs status"))


def test_what_cannot_be_linked_is_not_attached(mounted: Shell) -> None:
    mounted.ok("cp $EXAMPLES/latency.bpf.o $B/; mkdir $B/latency/links/read_return")
    outcome = mounted("echo 1 > $B/latency/attach.ctl")
    assert "File exists" in outcome.err
    assert mounted.ok("cat $B/latency/attach.log") == (
        "prog 'read_return', kretprobe/vfs_read: EEXIST: read_return exists\n"
    )
    assert "  probes: 0" in mounted.ok("bpffs status")
    mounted.ok("rmdir $B/latency/links/*; echo 1 > $B/latency/attach.ctl")
    assert mounted.ok("ls $B/latency; echo 0 > $B/latency/attach.ctl") == "attach.ctl\nlinks\nmaps\nprogs\n"
    outcome = mounted("exec 3> $B/latency/attach.ctl; rm -r $B/latency; echo 1 >&3")
    assert "No such file" in outcome.err
    assert "  probes: 0" in mounted.ok("bpffs status")


def test_loading_through_a_pipe(mounted: Shell) -> None:
    mounted.ok("cat $EXAMPLES/count.bpf.o > $B/one.bpf.o; ls $B/one/maps")
    mounted.ok(
        "(head -c 700 $EXAMPLES/count.bpf.o; tail -c +701 $EXAMPLES/count.bpf.o) | dd of=$B/two.bpf.o bs=64"
    )
    assert mounted.ok("ls -A $B") == "one\ntwo\n"


def test_tools_that_set_mode_and_times_after_copying(mounted: Shell) -> None:
    mounted.ok("install -m 600 $EXAMPLES/count.bpf.o $B/one.bpf.o; stat -c %a $B/one.bpf.o")
    mounted.ok("cp -a $EXAMPLES/count.bpf.o $B/two.bpf.o; cmp $EXAMPLES/count.bpf.o $B/two.bpf.o")
    mounted.ok("cp $EXAMPLES/count.bpf.o $M/../three.bpf.o; mv $M/../three.bpf.o $B/")
    assert mounted.ok("ls -A $B") == "one\nthree\ntwo\n"
    mounted.ok("mv $B/two $B/four; cmp $EXAMPLES/count.bpf.o $B/four.bpf.o; rm -r $B/four")
    assert "No such file" in mounted("cat $B/four.bpf.o").err


def test_an_object_is_not_loaded_over_another(mounted: Shell) -> None:
    mounted.ok("cp $EXAMPLES/count.bpf.o $B/")
    outcome = mounted("cp $EXAMPLES/count.bpf.o $B/")
    assert outcome.status == 1
    assert "File exists" in outcome.err
    assert mounted.ok("ls -A $B") == "count\n"


def test_rejected_objects(mounted: Shell) -> None:
    mounted.ok(
        "head -c 900 $EXAMPLES/count.bpf.o > $M/../short.bpf.o; head -c 5000 /dev/urandom > $M/../noise.bpf.o"
    )
    for name in ("short", "noise"):
        outcome = mounted(f"cp $M/../{name}.bpf.o $B/")
        assert outcome.status == 1
        assert "failed to close" in outcome.err
        assert mounted(f"ls $B/{name}").status != 0
    assert "ENOEXEC" in mounted.ok("cat $B/noise.log")
    assert "the file ends before its end" in mounted.ok("cat $B/short.log")
    assert mounted.ok("ls -A $B; rm $B/*.log; ls -A $B") == "noise.log\nshort.log\n"
    mounted.ok("cp $EXAMPLES/count.bpf.o $B/noise.bpf.o; ls $B/noise/progs")


def test_program_views(mounted: Shell) -> None:
    mounted.ok("cp $EXAMPLES/count.bpf.o $B/")
    place = "$B/count/progs/count"
    assert "exit" in mounted.ok(f"cat {place}.xlated")
    assert mounted.ok(f"cat {place}.stats") == "run_cnt 0\nrun_time_ns 0\nmissed 0\n"
    info = mounted.ok(f"cat {place}.info")
    assert re.match(r"\d+: kprobe  name count  tag [0-9a-f]{16}  gpl\n\tloaded_at 20\S+  uid 0\n", info)
    types = re.search(r"  map_ids \d+\n(\tbtf_id \d+\n)\Z", info)
    assert types
    assert mounted.ok("cat $B/count/maps/hits.info").endswith(types[1])
    assert mounted.ok(f"wc -c < {place}.jited").strip() != "0"
    assert "processed" in mounted.ok(f"cat {place}.log")
    assert "Input/output error" in mounted(f"cat {place}").err


def test_all_examples_load(mounted: Shell) -> None:
    for path in sorted(EXAMPLES.glob("*.bpf.o")):
        mounted.ok(f"cp {path} $B/")
        name = path.name.split(".")[0]
        mounted.ok(f"echo 1 > $B/{name}/attach.ctl")
    assert len(mounted.ok("ls $B").split()) == len(list(EXAMPLES.glob("*.bpf.o")))
