"""The FUSE side of bpffs: requests, open files, blocking reads, the tree of the mount, the command line.

Model: `tree` assembles one tree of `engine.kernfs` nodes; `fuse` turns each request of the kernel into
one call of a node or of an open handle; `daemon` owns machine, tracer, tracefs and mount, and ends them in
order. The command line (`cli`) never imports the daemon's modules: it starts it and talks through files.

Threads: FUSE requests, and everything quick, run on the main thread under trio; nodes marked `slow` run in
at most `fuse.calls.WORKERS` worker threads. Lock order: the pin tree's lock (`bpf.tree`) before the engine's.
"""

__all__: list[str] = []
