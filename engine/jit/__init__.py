"""Native code: the only room that knows llvmlite.

Two things become machine code here. Functions written in the native language (`lang`), a small subset of
typed Python for hot paths that must run without the GIL: map operations, helpers, the ptrace loop,
ring buffers. And eBPF programs (`bpf*`), which include those functions and inline them.

`lang` is what other packages import; it names the words of the language and needs no llvmlite.
`source` reads a function and finds everything it reaches, `emit` turns its syntax tree into LLVM IR,
`words` holds one row per intrinsic, `codegen` optimises, emits objects and links them, and
`cache` keeps objects on disk. Locks: `codegen` serialises compiling and linking; no other lock is
taken while it is held.
"""

__all__: list[str] = []
