"""/sys/fs/bpf: directories, pins, and bpffs's own verbs and views.

`directory.BpfDir` follows kernel/bpf/inode.c for every name without a dot. Names with a dot, which Linux
refuses, are views of a pin (`hits.json`), verbs (`count/attach.ctl`) and uploads (`count.bpf.o`, `hits.map`).
A pin owns its object: when its last name goes, a link is detached and a map or program is let go.
One lock (`BpfFs.lock`) guards all directories; it is never held while an object is loaded or attached.
"""

__all__: list[str] = []
