"""The functions of the modelled kernel: prototype and size of each, one row a function.

`__x64_sys_*` is not listed here: there is one for every row of `engine.abi.syscalls`. What calls a function,
and with which arguments, is in `engine.kernel.calls`. Prototypes are those of Linux 6.1; sizes of
functions that the golden transcripts show are the real ones.
"""

import re
from dataclasses import dataclass

from engine.abi.syscalls import NI_SYSCALL, SYSCALLS, Param
from engine.kernel.symbols import TEXT_BASE, TEXT_END, Symbol, SymbolTable

__all__ = ["ALIASES", "FUNCTIONS", "PINNED", "RETHOOK_TRAMPOLINE", "TAIL_CALLERS", "Function", "symbol_table"]

ALIASES = {"dragonos_kernel::syscall::Syscall::handle": "do_syscall_64"} | {
    f"__x64_sys_{row.name}": row.function
    for row in SYSCALLS.values()
    if row.exists and row.function != f"__x64_sys_{row.name}"
}
"""Other names of functions, at the same address: DragonOS's for its system call handler, and for calls whose
function Linux names otherwise (`__x64_sys_newstat`) the call's own name (`__x64_sys_stat`)."""

RETHOOK_TRAMPOLINE = "arch_rethook_trampoline"
"""What a return address is replaced by while a return probe waits for it."""

TAIL_CALLERS = frozenset({"do_sys_open"})
"""Functions that end in a jump to what they call, so that it returns to their own caller."""

_DEFAULT_SIZE = 0x40
_CALL_BEFORE_END = 0x36
"""A call returns to this many bytes before the end of the calling function."""
_PROTOTYPE = re.compile(r"(?P<ret>.*[ *])(?P<name>\w+)\((?P<args>.*)\)(?: (?P<size>0x\w+))?")
_PARAM = re.compile(r"(?P<type>.*[ *])(?P<name>\w+)")

_PROTOTYPES = """\
void do_syscall_64(struct pt_regs *regs, int nr) 0xb0
ssize_t ksys_read(unsigned int fd, char *buf, size_t count)
ssize_t ksys_write(unsigned int fd, const char *buf, size_t count)
ssize_t ksys_pread64(unsigned int fd, char *buf, size_t count, loff_t pos)
ssize_t ksys_pwrite64(unsigned int fd, const char *buf, size_t count, loff_t pos)
ssize_t do_readv(unsigned long fd, const struct iovec *vec, unsigned long vlen, rwf_t flags)
ssize_t do_writev(unsigned long fd, const struct iovec *vec, unsigned long vlen, rwf_t flags)
ssize_t do_preadv(unsigned long fd, const struct iovec *vec, unsigned long vlen, loff_t pos, rwf_t flags)
ssize_t do_pwritev(unsigned long fd, const struct iovec *vec, unsigned long vlen, loff_t pos, rwf_t flags)
ssize_t vfs_read(struct file *file, char *buf, size_t count, loff_t *pos) 0x2e0
ssize_t vfs_write(struct file *file, const char *buf, size_t count, loff_t *pos) 0x3d0
ssize_t vfs_readv(struct file *file, const struct iovec *vec, unsigned long vlen, loff_t *pos, rwf_t flags)
ssize_t vfs_writev(struct file *file, const struct iovec *vec, unsigned long vlen, loff_t *pos, rwf_t flags)
off_t ksys_lseek(unsigned int fd, off_t offset, unsigned int whence)
loff_t vfs_llseek(struct file *file, loff_t offset, int whence)
int do_fsync(unsigned int fd, int datasync)
int vfs_fsync(struct file *file, int datasync)
long do_sys_open(int dfd, const char *filename, int flags, umode_t mode) 0x80
long do_sys_openat2(int dfd, const char *filename, struct open_how *how) 0x170
struct filename *getname(const char *filename)
struct file *do_filp_open(int dfd, struct filename *pathname, const struct open_flags *op) 0x160
int vfs_open(const struct path *path, struct file *file) 0x30
int vfs_unlink(struct user_namespace *mnt_userns, struct inode *dir, struct dentry *dentry, \
struct inode **delegated_inode)
int vfs_create(struct user_namespace *mnt_userns, struct inode *dir, struct dentry *dentry, umode_t mode, \
bool want_excl)
int vfs_mkdir(struct user_namespace *mnt_userns, struct inode *dir, struct dentry *dentry, umode_t mode)
int vfs_rmdir(struct user_namespace *mnt_userns, struct inode *dir, struct dentry *dentry)
int vfs_rename(struct renamedata *rd)
int close_fd(unsigned int fd) 0x60
int filp_close(struct file *filp, fl_owner_t id) 0x70
int ksys_dup3(unsigned int oldfd, unsigned int newfd, int flags)
long do_fcntl(int fd, unsigned int cmd, unsigned long arg, struct file *filp)
int do_vfs_ioctl(struct file *filp, unsigned int fd, unsigned int cmd, unsigned long arg)
int iterate_dir(struct file *file, struct dir_context *ctx)
int vfs_fstatat(int dfd, const char *filename, struct kstat *stat, int flags)
int vfs_fstat(int fd, struct kstat *stat)
int vfs_statx(int dfd, struct filename *filename, int flags, struct kstat *stat, u32 request_mask)
int do_statx(int dfd, struct filename *filename, unsigned int flags, unsigned int mask, struct statx *buffer)
long do_faccessat(int dfd, const char *filename, int mode, int flags)
int do_unlinkat(int dfd, struct filename *name)
int do_rmdir(int dfd, struct filename *name)
int do_mkdirat(int dfd, struct filename *name, umode_t mode)
int do_mknodat(int dfd, struct filename *name, umode_t mode, unsigned int dev)
int do_symlinkat(struct filename *from, int newdfd, struct filename *to)
int do_linkat(int olddfd, struct filename *old, int newdfd, struct filename *new, int flags)
int do_renameat2(int olddfd, struct filename *from, int newdfd, struct filename *to, unsigned int flags)
int do_fchmodat(int dfd, const char *filename, umode_t mode)
int vfs_fchmod(struct file *file, umode_t mode)
int do_fchownat(int dfd, const char *filename, uid_t user, gid_t group, int flag)
int ksys_fchown(unsigned int fd, uid_t user, gid_t group)
int do_readlinkat(int dfd, const char *pathname, char *buf, int bufsiz)
long do_sys_truncate(const char *pathname, loff_t length)
long do_sys_ftruncate(unsigned int fd, loff_t length, int small)
int ksys_fallocate(int fd, int mode, loff_t offset, loff_t len)
int vfs_fallocate(struct file *file, int mode, loff_t offset, loff_t len)
ssize_t vfs_copy_file_range(struct file *file_in, loff_t pos_in, struct file *file_out, loff_t pos_out, \
size_t len, unsigned int flags)
ssize_t ksys_readahead(int fd, loff_t offset, size_t count)
int ksys_fadvise64_64(int fd, loff_t offset, loff_t len, int advice)
int ksys_sync_file_range(int fd, loff_t offset, loff_t nbytes, unsigned int flags)
void ksys_sync(void)
int do_pipe2(int *fildes, int flags)
int do_eventfd(unsigned int count, int flags)
int do_inotify_init(int flags)
unsigned long ksys_mmap_pgoff(unsigned long addr, unsigned long len, unsigned long prot, \
unsigned long flags, unsigned long fd, unsigned long pgoff)
unsigned long vm_mmap_pgoff(struct file *file, unsigned long addr, unsigned long len, unsigned long prot, \
unsigned long flag, unsigned long pgoff)
int __vm_munmap(unsigned long start, size_t len, bool downgrade)
int do_mprotect_pkey(unsigned long start, size_t len, unsigned long prot, int pkey)
int __sys_socket(int family, int type, int protocol)
int __sys_socketpair(int family, int type, int protocol, int *usockvec)
int __sys_bind(int fd, struct sockaddr *umyaddr, int addrlen)
int __sys_listen(int fd, int backlog)
int __sys_accept4(int fd, struct sockaddr *upeer_sockaddr, int *upeer_addrlen, int flags)
int __sys_connect(int fd, struct sockaddr *uservaddr, int addrlen)
int __sys_getsockname(int fd, struct sockaddr *usockaddr, int *usockaddr_len)
int __sys_getpeername(int fd, struct sockaddr *usockaddr, int *usockaddr_len)
int __sys_sendto(int fd, void *buff, size_t len, unsigned int flags, struct sockaddr *addr, int addr_len)
int __sys_recvfrom(int fd, void *ubuf, size_t size, unsigned int flags, struct sockaddr *addr, int *addr_len)
long __sys_sendmsg(int fd, struct user_msghdr *msg, unsigned int flags, bool forbid_cmsg_compat)
long __sys_recvmsg(int fd, struct user_msghdr *msg, unsigned int flags, bool forbid_cmsg_compat)
int __sys_sendmmsg(int fd, struct mmsghdr *mmsg, unsigned int vlen, unsigned int flags, \
bool forbid_cmsg_compat)
int __sys_setsockopt(int fd, int level, int optname, char *user_optval, int optlen)
int __sys_getsockopt(int fd, int level, int optname, char *optval, int *optlen)
int __sys_shutdown(int fd, int how)
pid_t kernel_clone(struct kernel_clone_args *args)
int bprm_execve(struct linux_binprm *bprm, int fd, struct filename *filename, int flags)
void do_group_exit(int exit_code)
void do_exit(long code)
long kernel_wait4(pid_t upid, int *stat_addr, int options, struct rusage *ru)
int ksys_unshare(unsigned long unshare_flags)
int ksys_setsid(void)
void do_sched_yield(void)
long ksys_shmget(key_t key, size_t size, int shmflg)
long ksys_shmdt(char *shmaddr)
long ksys_semget(key_t key, int nsems, int semflg)
long ksys_msgget(key_t key, int msgflg)
"""

PINNED = {
    "__x64_sys_openat": 0xFFFF_FFFF_8136_4630,
    "do_sys_openat2": 0xFFFF_FFFF_8136_3FA0,
    "vfs_read": 0xFFFF_FFFF_8136_69E0,
    RETHOOK_TRAMPOLINE: 0xFFFF_FFFF_8107_6930,
}
"""Addresses that the golden transcripts name."""

_UNPROBEABLE = {
    "_stext": 0x10,
    RETHOOK_TRAMPOLINE: 0x60,
    "aggr_pre_handler": 0x60,
    "asm_exc_page_fault": 0x30,
    "do_int3": 0x40,
    "entry_SYSCALL_64_after_hwframe": 0xD8,
    "exc_page_fault": 0x160,
    "kprobe_dispatcher": 0x40,
    "notifier_call_chain": 0x90,
}
"""Symbols that cannot be probed, with sizes: on Linux they are blacklisted, or not within a function."""


@dataclass(frozen=True, slots=True)
class Function:
    """A probeable function: C return type, parameters in register order, bytes of text."""

    name: str
    returns: str
    params: tuple[Param, ...]
    size: int = _DEFAULT_SIZE

    @property
    def call_offset(self) -> int:
        """Offset that a function called from here returns to."""
        return self.size - _CALL_BEFORE_END

    @property
    def prototype(self) -> str:
        """The C declaration, without size."""
        args = ", ".join(f"{p.type} {p.name}".replace("* ", "*") for p in self.params) or "void"
        return f"{self.returns} {self.name}({args})".replace("* ", "*")


def _function(line: str) -> Function:
    match = _PROTOTYPE.fullmatch(line)
    if match is None:
        raise ValueError(f"not a prototype: {line!r}")
    params = []
    for text in match["args"].split(", ") if match["args"] != "void" else ():
        param = _PARAM.fullmatch(text)
        if param is None:
            raise ValueError(f"not a parameter: {text!r}")
        params.append(Param(param["name"], param["type"].strip()))
    size = int(match["size"], 16) if match["size"] else _DEFAULT_SIZE
    return Function(match["name"], match["ret"].strip(), tuple(params), size)


def _syscall_functions() -> list[Function]:
    regs = (Param("regs", "const struct pt_regs *"),)
    entries = dict.fromkeys(row.function for row in SYSCALLS.values() if row.exists)
    names = [*entries, f"__x64_sys_{NI_SYSCALL}"]
    sizes = {"__x64_sys_openat": 0xA0}
    return [Function(name, "long", regs, sizes.get(name, _DEFAULT_SIZE)) for name in names]


FUNCTIONS: dict[str, Function] = {
    function.name: function for function in [*map(_function, _PROTOTYPES.splitlines()), *_syscall_functions()]
}
"""Every function that can fire, by name; aliases apart."""


def symbol_table() -> SymbolTable:
    """Lay all functions out: pinned ones where they are, the others from TEXT_BASE on, 16-byte aligned."""
    sizes = {name: function.size for name, function in FUNCTIONS.items()} | _UNPROBEABLE
    symbols = {name: Symbol(name, at, sizes[name], name in FUNCTIONS) for name, at in PINNED.items()}
    taken = sorted((symbol.address, symbol.address + symbol.size) for symbol in symbols.values())
    at = TEXT_BASE
    for name in sorted(sizes.keys() - PINNED.keys(), key=lambda name: (name != "_stext", name)):
        for low, high in taken:
            if at < high and low < at + sizes[name]:
                at = -(-high // 16) * 16
        symbols[name] = Symbol(name, at, sizes[name], name in FUNCTIONS)
        at = -(-(at + sizes[name]) // 16) * 16
    if at > TEXT_END:
        raise ValueError("kernel text is full")
    for alias, name in ALIASES.items():
        symbols[alias] = Symbol(alias, symbols[name].address, symbols[name].size)
    return SymbolTable(symbols.values())
