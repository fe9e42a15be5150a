/* Checks how signals reach it, `signals WAY`, and prints what it saw.
 *
 * queued: 200 queued signals with values 0 .. 199 arrive in order with their siginfo.
 * ignored: waits 300 ms in epoll_wait while its child sends signals that are ignored.
 * stopped: waits for input in epoll_wait; a stop and SIGCONT meanwhile give EINTR, as signal(7) has it.
 * fault: recovers from a SIGSEGV whose siginfo names the address.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int seen, wrong;
static void *volatile fault;
static sigjmp_buf back;

static void on_queued(int signal, siginfo_t *info, void *context)
{
	(void)context;
	wrong += signal != SIGRTMIN || info->si_code != SI_QUEUE || info->si_value.sival_int != seen;
	wrong += info->si_pid == getpid();
	seen++;
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	fault = info->si_addr;
	siglongjmp(back, 1);
}

static void queued(void)
{
	struct sigaction action = { .sa_sigaction = on_queued, .sa_flags = SA_SIGINFO };
	pid_t pid;

	sigaction(SIGRTMIN, &action, NULL);
	pid = fork();
	for (int i = 0; i < 200 && pid == 0; i++)
		while (sigqueue(getppid(), SIGRTMIN, (union sigval){ .sival_int = i }) < 0)
			usleep(100);
	if (pid == 0)
		_exit(0);
	while (waitpid(pid, NULL, 0) < 0 || seen < 200)
		;
	printf("%d %d\n", seen, wrong);
}

static void ignored(void)
{
	struct epoll_event event;
	int set = epoll_create1(0), result;

	signal(SIGUSR1, SIG_IGN);
	if (fork() == 0) {
		for (int i = 0; i < 5; i++) {
			usleep(20000);
			kill(getppid(), i & 1 ? SIGUSR1 : SIGWINCH);
		}
		_exit(0);
	}
	result = epoll_wait(set, &event, 1, 300);
	printf("%d %d\n", result, result < 0 ? errno : 0);
}

static void stopped(void)
{
	struct epoll_event event;
	int result;

	printf("waiting\n");
	fflush(stdout);
	result = epoll_wait(epoll_create1(0), &event, 1, 20000);
	printf("%d %d\n", result, result < 0 && errno == EINTR);
}

static void segfault(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	sigaction(SIGSEGV, &action, NULL);
	for (int i = 0; i < 100; i++)
		if (sigsetjmp(back, 1) == 0)
			*(volatile int *)0x1230 = 0;
		else
			seen += fault == (void *)0x1230;
	printf("%d\n", seen);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	if (!strcmp(argv[1], "queued"))
		queued();
	if (!strcmp(argv[1], "ignored"))
		ignored();
	if (!strcmp(argv[1], "stopped"))
		stopped();
	if (!strcmp(argv[1], "fault"))
		segfault();
	return 0;
}
