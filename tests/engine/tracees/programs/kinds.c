/* Processes and threads of every kind: `kinds` prints "ok" when each ended as it should.
 *
 * Clones with and without CLONE_UNTRACED, CLONE_PTRACE, CLONE_VM, CLONE_VFORK and an exit signal; a leader that ends
 * before its threads; a program that a thread executes then; a seccomp filter that traps, refuses and kills.
 * `kinds leaderless` prints "alone" when its leader has ended, and "ok" by another thread half a second later.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LEN(array) (sizeof(array) / sizeof(*(array)))

static char stack[1 << 16];
static volatile int trapped;

static int child(void *unused)
{
	for (int i = 0; i < 20; i++)
		syscall(SYS_getppid);
	return 7;
}

static int ends(pid_t pid, int wanted)
{
	int status = -1;

	return waitpid(pid, &status, __WALL) == pid && status == wanted;
}

static int clones(void)
{
	static const int flags[] = {
		SIGCHLD, CLONE_UNTRACED | SIGCHLD, CLONE_PTRACE | SIGCHLD, CLONE_VM | SIGCHLD, 0, CLONE_VM,
		CLONE_VM | CLONE_VFORK | SIGCHLD, CLONE_UNTRACED | CLONE_VM | CLONE_VFORK | SIGCHLD,
		CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND,
	};

	for (int i = 0; i < LEN(flags); i++)
		if (!ends(clone(child, stack + sizeof(stack), flags[i], NULL), 7 << 8))
			return 0;
	return 1;
}

static void *end_later(void *text)
{
	struct timespec wait = { 0, 500000000 };

	if (text) {
		/* The leader has ended when the only other thread is a zombie. */
		usleep(50000);
		puts(text);
		fflush(stdout);
		while (nanosleep(&wait, &wait))
			;
		puts("ok");
		exit(0);
	}
	child(NULL);
	exit(6);
}

static void *execute(void *unused)
{
	usleep(2000);
	execl("/proc/thread-self/exe", "kinds", "child", NULL);
	_exit(126);
	return unused;
}

static int leaderless(void *(*rest)(void *), int wanted)
{
	pthread_t thread;
	pid_t pid = fork();

	if (pid == 0) {
		pthread_create(&thread, NULL, rest, NULL);
		pthread_exit(NULL);
	}
	return ends(pid, wanted << 8);
}

static void trap(int number, siginfo_t *info, void *unused)
{
	trapped = info->si_syscall;
}

static int filtered(void)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getuid, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 77),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getgid, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_geteuid, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { LEN(rules), rules };
	struct sigaction action = { .sa_sigaction = trap, .sa_flags = SA_SIGINFO };
	pid_t pid = fork();

	if (pid == 0) {
		sigaction(SIGSYS, &action, NULL);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
			_exit(1);
		syscall(SYS_getppid);
		if (trapped != SYS_getppid || syscall(SYS_getuid) != -1 || errno != 77)
			_exit(2);
		/* Nobody asked to see it. */
		if (syscall(SYS_getgid) != -1 || errno != ENOSYS)
			_exit(3);
		syscall(SYS_geteuid);
		_exit(4);
	}
	int status = 0;
	return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc > 1 && !strcmp(argv[1], "child"))
		return 5;
	if (argc > 1 && !strcmp(argv[1], "leaderless")) {
		pthread_create(&thread, NULL, end_later, "alone");
		pthread_exit(NULL);
	}
	if (!clones())
		puts("clones");
	else if (!leaderless(end_later, 6))
		puts("leader ended");
	else if (!leaderless(execute, 5))
		puts("leader ended before execve");
	else if (!filtered())
		puts("filter");
	else
		puts("ok");
	return 0;
}
