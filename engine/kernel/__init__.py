"""The modelled kernel: what can be probed, and the objects that its functions take.

    functions    prototype and size of every function       symbols   their addresses
    calls        which functions each system call calls      callparse the notation, parsed
    layout       where objects are in a thread's slot        tasks     slots and task_struct
    objects, files, paths, clone   objects made of a system call's arguments, natively
    structs, btf  layouts as C declarations, and BTF of all of it
    tracepoints  events and their records
    uaccess      reading the thread's user memory

A task slot belongs to the tracer thread; programs only read it. Nothing here takes a lock but the slot
allocator, whose own is innermost.
"""

__all__: list[str] = []
