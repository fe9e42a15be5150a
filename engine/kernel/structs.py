"""Structs of the modelled kernel as C declarations with offsets: what programs may follow pointers into.

    struct NAME SIZE
      TYPE NAME OFFSET            an array has its length behind the name

Only what the model fills is declared, at the offsets of `engine.kernel.layout`; CO-RE finds the rest missing,
as it is. Names are the kernel's (Linux 6.1).
"""

__all__ = ["STRUCTS", "TYPEDEFS"]

TYPEDEFS = """\
u8 unsigned char
u16 unsigned short
u32 unsigned int
u64 unsigned long long
s32 int
s64 long long
__u8 unsigned char
__u16 unsigned short
__u32 unsigned int
__u64 unsigned long long
__s32 int
__s64 long long
bool _Bool
size_t unsigned long
ssize_t long
loff_t long long
off_t long
pid_t int
key_t int
rwf_t int
uid_t unsigned int
gid_t unsigned int
dev_t u32
umode_t unsigned short
fmode_t unsigned int
fl_owner_t void *
kuid_t struct kuid_t
kgid_t struct kgid_t
"""
"""Typedefs: name and what it stands for."""

STRUCTS = """\
struct kuid_t 4
  uid_t val 0
struct kgid_t 4
  gid_t val 0
struct pt_regs 168
  unsigned long r15 0
  unsigned long r14 8
  unsigned long r13 16
  unsigned long r12 24
  unsigned long bp 32
  unsigned long bx 40
  unsigned long r11 48
  unsigned long r10 56
  unsigned long r9 64
  unsigned long r8 72
  unsigned long ax 80
  unsigned long cx 88
  unsigned long dx 96
  unsigned long si 104
  unsigned long di 112
  unsigned long orig_ax 120
  unsigned long ip 128
  unsigned long cs 136
  unsigned long flags 144
  unsigned long sp 152
  unsigned long ss 160
struct task_struct 136
  pid_t pid 8
  pid_t tgid 12
  struct task_struct *real_parent 16
  struct task_struct *parent 24
  struct task_struct *group_leader 32
  const struct cred *cred 40
  const struct cred *real_cred 48
  struct mm_struct *mm 56
  char comm[16] 64
  int exit_code 80
  u64 start_time 88
  u64 start_boottime 96
  struct files_struct *files 104
  struct signal_struct *signal 112
  struct nsproxy *nsproxy 120
  int prio 132
struct cred 64
  kuid_t uid 4
  kgid_t gid 8
  kuid_t suid 12
  kgid_t sgid 16
  kuid_t euid 20
  kgid_t egid 24
  kuid_t fsuid 28
  kgid_t fsgid 32
struct filename 32
  const char *name 0
  const char *uptr 8
  int refcnt 16
  const char iname[0] 32
struct open_how 24
  __u64 flags 0
  __u64 mode 8
  __u64 resolve 16
struct open_flags 20
  int open_flag 0
  umode_t mode 4
  int acc_mode 8
  int intent 12
  int lookup_flags 16
struct qstr 16
  u32 hash 0
  u32 len 4
  const unsigned char *name 8
struct path 16
  struct vfsmount *mnt 0
  struct dentry *dentry 8
struct file 64
  unsigned int f_flags 0
  fmode_t f_mode 4
  loff_t f_pos 8
  struct path f_path 16
  struct inode *f_inode 32
  long f_count 40
struct inode 64
  umode_t i_mode 0
  kuid_t i_uid 4
  kgid_t i_gid 8
  unsigned int i_nlink 12
  struct super_block *i_sb 16
  unsigned long i_ino 24
  loff_t i_size 32
  dev_t i_rdev 40
  u64 i_blocks 48
struct super_block 64
  dev_t s_dev 0
  struct dentry *s_root 8
struct vfsmount 32
  struct dentry *mnt_root 0
  struct super_block *mnt_sb 8
struct dentry 48
  unsigned int d_flags 0
  struct dentry *d_parent 8
  struct qstr d_name 16
  struct inode *d_inode 32
  struct super_block *d_sb 40
struct kernel_clone_args 128
  u64 flags 0
  int *pidfd 8
  int *child_tid 16
  int *parent_tid 24
  int exit_signal 32
  unsigned long stack 40
  unsigned long stack_size 48
  unsigned long tls 56
struct linux_binprm 16
  const char *filename 0
  const char *interp 8
struct renamedata 64
  struct user_namespace *old_mnt_userns 0
  struct inode *old_dir 8
  struct dentry *old_dentry 16
  struct user_namespace *new_mnt_userns 24
  struct inode *new_dir 32
  struct dentry *new_dentry 40
  unsigned int flags 56
struct trace_entry 8
  unsigned short type 0
  unsigned char flags 2
  unsigned char preempt_count 3
  int pid 4
struct syscall_trace_enter 16
  struct trace_entry ent 0
  int nr 8
  unsigned long args[0] 16
struct syscall_trace_exit 24
  struct trace_entry ent 0
  int nr 8
  long ret 16
"""
"""All structs; records of tracepoints (`trace_event_raw_*`) are made of `engine.kernel.tracepoints`."""
