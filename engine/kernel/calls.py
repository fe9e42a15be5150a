"""What each system call calls inside the kernel: one literal tree per system call.

Under the name of a system call (of several, if they call alike) come the functions that its
`__x64_sys_*` calls, deeper calls indented under their caller:

    FUNCTION(ARGUMENT, ...) [if GUARD and GUARD ...] [-> RETURN]

Arguments: `a0` .. `a5` are the system call's own, cut to the width of the parameter; integers and the names
of `engine.kernel.callparse.NAMES`; and kernel objects made of them:

    name(a1)  struct filename     file(a0)  struct file of a descriptor    file(ret)  of the returned one
    path(ret) its f_path          how(a1, a2)  struct open_how             user_how(a2)  copied from user
    op(a1, a2) struct open_flags  pos(a0), value_pos(a3)  a loff_t          stack()  a local of the caller
    set_bits(a1, n)  shift_right(a5, n)  exit_code(a0)  clone_args(KIND)  bprm(a0)
    dentry(a0, a1), directory(a0, a1)  of a path   umasked(a2)   rename_data()   user_ns()

Guards say when the call happens; without one it always does. `name` (a readable path that is not
empty), `at_name(a, flags)` (or empty where AT_EMPTY_PATH allows it), `fd` (an open descriptor, not
O_PATH), `any_fd` (also O_PATH),
`seekable`, `bits(a, mask, value)`, `equal(a, n)`, `below(a, n)`, `signed(a)` (not negative), `readable(a, n)`
and `readable_or_null(a, n)` are known at entry. `ok` is known only when the system call has returned (it
succeeded): such a call is reported then, just before the returns of its callers. So a failed `vfs_open`
or `vfs_unlink` is not seen.

RETURN is what follows from the system call's result: by default the result itself, at the width of the
function's type; `0`; `file(ret)`, the file or the ERR_PTR; `name(a1)`, the name or the ERR_PTR, which follow
from the arguments already; `never`.
"""

__all__ = ["CALLS"]

CALLS = """\
open
  do_sys_open(AT_FDCWD, a0, set_bits(a1, O_LARGEFILE), a2)
    do_sys_openat2(AT_FDCWD, a0, how(a1, a2))
      getname(a0) -> name(a0)
      do_filp_open(AT_FDCWD, name(a0), op(a1, a2)) if name(a0) -> file(ret)
        vfs_open(path(ret), file(ret)) if ok -> 0
creat
  do_sys_open(AT_FDCWD, a0, CREAT_FLAGS, a1)
    do_sys_openat2(AT_FDCWD, a0, how(CREAT_FLAGS, a1))
      getname(a0) -> name(a0)
      do_filp_open(AT_FDCWD, name(a0), op(CREAT_FLAGS, a1)) if name(a0) -> file(ret)
        vfs_open(path(ret), file(ret)) if ok -> 0
openat
  do_sys_open(a0, a1, set_bits(a2, O_LARGEFILE), a3)
    do_sys_openat2(a0, a1, how(a2, a3))
      getname(a1) -> name(a1)
      do_filp_open(a0, name(a1), op(a2, a3)) if name(a1) -> file(ret)
        vfs_open(path(ret), file(ret)) if ok -> 0
openat2
  do_sys_openat2(a0, a1, user_how(a2)) if readable(a2, 24)
    getname(a1) if readable(a2, 24) -> name(a1)
    do_filp_open(a0, name(a1), user_op(a2)) if readable(a2, 24) and name(a1) -> file(ret)
      vfs_open(path(ret), file(ret)) if ok -> 0
close
  close_fd(a0)
    filp_close(any_file(a0), files()) if any_fd(a0)
read
  ksys_read(a0, a1, a2)
    vfs_read(file(a0), a1, a2, pos(a0)) if fd(a0)
write
  ksys_write(a0, a1, a2)
    vfs_write(file(a0), a1, a2, pos(a0)) if fd(a0)
pread64
  ksys_pread64(a0, a1, a2, a3)
    vfs_read(file(a0), a1, a2, value_pos(a3)) if signed(a3) and fd(a0) and seekable(a0)
pwrite64
  ksys_pwrite64(a0, a1, a2, a3)
    vfs_write(file(a0), a1, a2, value_pos(a3)) if signed(a3) and fd(a0) and seekable(a0)
readv
  do_readv(a0, a1, a2, 0)
    vfs_readv(file(a0), a1, a2, pos(a0), 0) if fd(a0)
writev
  do_writev(a0, a1, a2, 0)
    vfs_writev(file(a0), a1, a2, pos(a0), 0) if fd(a0)
preadv
  do_preadv(a0, a1, a2, a3, 0)
    vfs_readv(file(a0), a1, a2, value_pos(a3), 0) if signed(a3) and fd(a0) and seekable(a0)
pwritev
  do_pwritev(a0, a1, a2, a3, 0)
    vfs_writev(file(a0), a1, a2, value_pos(a3), 0) if signed(a3) and fd(a0) and seekable(a0)
preadv2
  do_preadv(a0, a1, a2, a3, a5) if signed(a3)
    vfs_readv(file(a0), a1, a2, value_pos(a3), a5) if signed(a3) and fd(a0) and seekable(a0)
  do_readv(a0, a1, a2, a5) if equal(a3, -1)
    vfs_readv(file(a0), a1, a2, pos(a0), a5) if equal(a3, -1) and fd(a0)
pwritev2
  do_pwritev(a0, a1, a2, a3, a5) if signed(a3)
    vfs_writev(file(a0), a1, a2, value_pos(a3), a5) if signed(a3) and fd(a0) and seekable(a0)
  do_writev(a0, a1, a2, a5) if equal(a3, -1)
    vfs_writev(file(a0), a1, a2, pos(a0), a5) if equal(a3, -1) and fd(a0)
lseek
  ksys_lseek(a0, a1, a2)
    vfs_llseek(file(a0), a1, a2) if fd(a0) and below(a2, 5)
fsync
  do_fsync(a0, 0)
    vfs_fsync(file(a0), 0) if fd(a0)
fdatasync
  do_fsync(a0, 1)
    vfs_fsync(file(a0), 1) if fd(a0)
fcntl
  do_fcntl(a0, a1, a2, file(a0)) if fd(a0)
ioctl
  do_vfs_ioctl(file(a0), a0, a1, a2) if fd(a0)
getdents, getdents64
  iterate_dir(file(a0), stack()) if fd(a0)
stat
  vfs_fstatat(AT_FDCWD, a0, stack(), 0)
    vfs_statx(AT_FDCWD, name(a0), AT_NO_AUTOMOUNT, stack(), STATX_BASIC_STATS) if name(a0)
lstat
  vfs_fstatat(AT_FDCWD, a0, stack(), AT_SYMLINK_NOFOLLOW)
    vfs_statx(AT_FDCWD, name(a0), LSTAT_FLAGS, stack(), STATX_BASIC_STATS) if name(a0)
newfstatat
  vfs_fstatat(a0, a1, stack(), a3)
    vfs_statx(a0, name(a1), set_bits(a3, AT_NO_AUTOMOUNT), stack(), STATX_BASIC_STATS) if at_name(a1, a3)
fstat
  vfs_fstat(a0, stack())
statx
  do_statx(a0, name(a1), a2, a3, a4) if bits(a3, STATX_RESERVED, 0) and at_name(a1, a2)
    vfs_statx(a0, name(a1), a2, stack(), a3) if bits(a3, STATX_RESERVED, 0) and at_name(a1, a2)
access
  do_faccessat(AT_FDCWD, a0, a1, 0)
faccessat
  do_faccessat(a0, a1, a2, 0)
faccessat2
  do_faccessat(a0, a1, a2, a3)
unlink
  getname(a0) -> name(a0)
  do_unlinkat(AT_FDCWD, name(a0)) if name(a0)
    vfs_unlink(user_ns(), directory(AT_FDCWD, a0), dentry(AT_FDCWD, a0), stack()) if ok and name(a0) -> 0
rmdir
  getname(a0) -> name(a0)
  do_rmdir(AT_FDCWD, name(a0)) if name(a0)
    vfs_rmdir(user_ns(), directory(AT_FDCWD, a0), dentry(AT_FDCWD, a0)) if ok and name(a0) -> 0
unlinkat
  getname(a1) if bits(a2, 0xffffffff, 0) -> name(a1)
  do_unlinkat(a0, name(a1)) if bits(a2, 0xffffffff, 0) and name(a1)
    vfs_unlink(user_ns(), directory(a0, a1), dentry(a0, a1), stack()) \
if ok and bits(a2, 0xffffffff, 0) and name(a1) -> 0
  do_rmdir(a0, name(a1)) if bits(a2, 0xffffffff, AT_REMOVEDIR) and name(a1)
    vfs_rmdir(user_ns(), directory(a0, a1), dentry(a0, a1)) \
if ok and bits(a2, 0xffffffff, AT_REMOVEDIR) and name(a1) -> 0
mkdir
  getname(a0) -> name(a0)
  do_mkdirat(AT_FDCWD, name(a0), a1) if name(a0)
    vfs_mkdir(user_ns(), directory(AT_FDCWD, a0), dentry(AT_FDCWD, a0), umasked(a1)) if ok and name(a0) -> 0
mkdirat
  getname(a1) -> name(a1)
  do_mkdirat(a0, name(a1), a2) if name(a1)
    vfs_mkdir(user_ns(), directory(a0, a1), dentry(a0, a1), umasked(a2)) if ok and name(a1) -> 0
mknod
  getname(a0) -> name(a0)
  do_mknodat(AT_FDCWD, name(a0), a1, a2) if name(a0)
    vfs_create(user_ns(), directory(AT_FDCWD, a0), dentry(AT_FDCWD, a0), umasked(a1), 1) \
if ok and bits(a1, S_IFMT, 0) and name(a0) -> 0
    vfs_create(user_ns(), directory(AT_FDCWD, a0), dentry(AT_FDCWD, a0), umasked(a1), 1) \
if ok and bits(a1, S_IFMT, S_IFREG) and name(a0) -> 0
mknodat
  getname(a1) -> name(a1)
  do_mknodat(a0, name(a1), a2, a3) if name(a1)
    vfs_create(user_ns(), directory(a0, a1), dentry(a0, a1), umasked(a2), 1) \
if ok and bits(a2, S_IFMT, 0) and name(a1) -> 0
    vfs_create(user_ns(), directory(a0, a1), dentry(a0, a1), umasked(a2), 1) \
if ok and bits(a2, S_IFMT, S_IFREG) and name(a1) -> 0
symlink
  getname(a0) -> name(a0)
  getname(a1) -> name(a1)
  do_symlinkat(name(a0), AT_FDCWD, name(a1)) if name(a0) and name(a1)
symlinkat
  getname(a0) -> name(a0)
  getname(a2) -> name(a2)
  do_symlinkat(name(a0), a1, name(a2)) if name(a0) and name(a2)
link
  getname(a1) -> name(a1)
  do_linkat(AT_FDCWD, name(a0), AT_FDCWD, name(a1), 0) if name(a0) and name(a1)
linkat
  getname(a3) -> name(a3)
  do_linkat(a0, name(a1), a2, name(a3), a4) if at_name(a1, a4) and name(a3)
rename
  getname(a0) -> name(a0)
  getname(a1) -> name(a1)
  do_renameat2(AT_FDCWD, name(a0), AT_FDCWD, name(a1), 0) if name(a0) and name(a1)
    vfs_rename(rename_data()) if ok and name(a0) and name(a1) -> 0
renameat
  getname(a1) -> name(a1)
  getname(a3) -> name(a3)
  do_renameat2(a0, name(a1), a2, name(a3), 0) if name(a1) and name(a3)
    vfs_rename(rename_data()) if ok and name(a1) and name(a3) -> 0
renameat2
  getname(a1) -> name(a1)
  getname(a3) -> name(a3)
  do_renameat2(a0, name(a1), a2, name(a3), a4) if name(a1) and name(a3)
    vfs_rename(rename_data()) if ok and name(a1) and name(a3) -> 0
chmod
  do_fchmodat(AT_FDCWD, a0, a1)
fchmodat
  do_fchmodat(a0, a1, a2)
fchmod
  vfs_fchmod(file(a0), a1) if fd(a0)
chown
  do_fchownat(AT_FDCWD, a0, a1, a2, 0)
lchown
  do_fchownat(AT_FDCWD, a0, a1, a2, AT_SYMLINK_NOFOLLOW)
fchownat
  do_fchownat(a0, a1, a2, a3, a4)
fchown
  ksys_fchown(a0, a1, a2)
readlink
  do_readlinkat(AT_FDCWD, a0, a1, a2)
readlinkat
  do_readlinkat(a0, a1, a2, a3)
truncate
  do_sys_truncate(a0, a1)
ftruncate
  do_sys_ftruncate(a0, a1, 1)
fallocate
  ksys_fallocate(a0, a1, a2, a3)
    vfs_fallocate(file(a0), a1, a2, a3) if fd(a0)
copy_file_range
  vfs_copy_file_range(file(a0), range_pos(a1, a0), file(a2), range_pos(a3, a2), a4, a5) \
if fd(a0) and fd(a2) and readable_or_null(a1, 8) and readable_or_null(a3, 8)
readahead
  ksys_readahead(a0, a1, a2)
fadvise64
  ksys_fadvise64_64(a0, a1, a2, a3)
sync_file_range
  ksys_sync_file_range(a0, a1, a2, a3)
sync
  ksys_sync()
dup3
  ksys_dup3(a0, a1, a2)
pipe
  do_pipe2(a0, 0)
pipe2
  do_pipe2(a0, a1)
eventfd
  do_eventfd(a0, 0)
eventfd2
  do_eventfd(a0, a1)
inotify_init
  do_inotify_init(0)
inotify_init1
  do_inotify_init(a0)
mmap
  ksys_mmap_pgoff(a0, a1, a2, a3, a4, shift_right(a5, 12)) if bits(a5, 0xfff, 0)
    vm_mmap_pgoff(0, a0, a1, a2, a3, shift_right(a5, 12)) \
if bits(a5, 0xfff, 0) and bits(a3, MAP_ANONYMOUS_OR_HUGETLB, MAP_ANONYMOUS)
    vm_mmap_pgoff(file(a4), a0, a1, a2, a3, shift_right(a5, 12)) \
if bits(a5, 0xfff, 0) and bits(a3, MAP_ANONYMOUS_OR_HUGETLB, 0) and fd(a4)
munmap
  __vm_munmap(a0, a1, 1)
mprotect
  do_mprotect_pkey(a0, a1, a2, -1)
pkey_mprotect
  do_mprotect_pkey(a0, a1, a2, a3)
socket
  __sys_socket(a0, a1, a2)
socketpair
  __sys_socketpair(a0, a1, a2, a3)
bind
  __sys_bind(a0, a1, a2)
listen
  __sys_listen(a0, a1)
accept
  __sys_accept4(a0, a1, a2, 0)
accept4
  __sys_accept4(a0, a1, a2, a3)
connect
  __sys_connect(a0, a1, a2)
getsockname
  __sys_getsockname(a0, a1, a2)
getpeername
  __sys_getpeername(a0, a1, a2)
sendto
  __sys_sendto(a0, a1, a2, a3, a4, a5)
recvfrom
  __sys_recvfrom(a0, a1, a2, a3, a4, a5)
sendmsg
  __sys_sendmsg(a0, a1, a2, 1)
recvmsg
  __sys_recvmsg(a0, a1, a2, 1)
sendmmsg
  __sys_sendmmsg(a0, a1, a2, a3, 1)
setsockopt
  __sys_setsockopt(a0, a1, a2, a3, a4)
getsockopt
  __sys_getsockopt(a0, a1, a2, a3, a4)
shutdown
  __sys_shutdown(a0, a1)
fork
  kernel_clone(clone_args(FORK))
vfork
  kernel_clone(clone_args(VFORK))
clone
  kernel_clone(clone_args(CLONE))
clone3
  kernel_clone(clone_args(CLONE3)) if readable(a0, 64)
execve
  getname(a0) -> name(a0)
  bprm_execve(bprm(a0), AT_FDCWD, name(a0), 0) if name(a0)
execveat
  bprm_execve(bprm(a1), a0, name(a1), a4) if at_name(a1, a4)
exit_group
  do_group_exit(exit_code(a0)) -> never
wait4
  kernel_wait4(a0, a1, a2, stack_or_null(a3))
unshare
  ksys_unshare(a0)
setsid
  ksys_setsid()
sched_yield
  do_sched_yield() -> 0
shmget
  ksys_shmget(a0, a1, a2)
shmdt
  ksys_shmdt(a0)
semget
  ksys_semget(a0, a1, a2)
msgget
  ksys_msgget(a0, a1)
"""
