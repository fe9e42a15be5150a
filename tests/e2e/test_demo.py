"""`make run`: what a newcomer sees first."""

import re
import subprocess

from tests.e2e.conftest import ROOT, Shell


def test_the_demonstration_shows_what_it_says(shell: Shell) -> None:
    done = subprocess.run(
        [ROOT / "contrib/scripts/demo"],
        env=shell.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"opened: \(do_sys_openat2\+0x0/0x[0-9a-f]+\) dfd=0xffffff9c file=\"/", done.stdout)
    counts = dict(re.findall(r"^(\d+): (\d+)$", done.stdout, re.MULTILINE))
    assert len(counts) > 5
    assert all(int(count) > 0 for count in counts.values())
    assert done.stdout.rstrip().endswith("$ bpffs umount $M")
    assert shell.ok("bpffs status") == "nothing is mounted\n"
