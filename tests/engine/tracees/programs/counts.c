/* Makes system calls whose numbers are known: `counts N WAY...`, each WAY making N openat of a missing file.
 *
 * plain: here.  fork: in each of two children.  vfork: after vfork and exec, in two more.  thread: in each of
 * four threads.  exec: after execve in this process.  threadexec: after execve by a thread that is not the leader.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int n;
static char **rest;
static char *self;
static volatile int ready;

static void *work(void *unused)
{
	for (int i = 0; i < n; i++)
		openat(AT_FDCWD, "/nonexistent/file", O_RDONLY);
	return unused;
}

static void next(char *way)
{
	char number[16];
	char *args[] = { self, number, way, NULL };

	for (int i = n, at = 14; (number[15] = 0), i; i /= 10)
		number[at--] = '0' + i % 10, args[1] = number + at + 1;
	execv(self, args);
	_exit(126);
}

static void *replace(void *unused)
{
	while (!ready)
		;
	next("plain");
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t threads[4];
	sigset_t set;

	/* A traced process is woken by SIGCHLD too, and a fork that a signal meets is made twice. */
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	self = argv[0];
	n = atoi(argv[1]);
	for (rest = argv + 2; *rest; rest++) {
		if (!strcmp(*rest, "plain"))
			work(NULL);
		for (int i = 0; i < 2 && !strcmp(*rest, "fork"); i++)
			if (fork() == 0) {
				work(NULL);
				_exit(0);
			}
		for (int i = 0; i < 2 && !strcmp(*rest, "vfork"); i++)
			if (vfork() == 0)
				next("plain");
		for (int i = 0; i < 4 && !strcmp(*rest, "thread"); i++)
			pthread_create(&threads[i], NULL, work, NULL);
		for (int i = 0; i < 4 && !strcmp(*rest, "thread"); i++)
			pthread_join(threads[i], NULL);
		while (waitpid(-1, NULL, 0) > 0)
			;
		if (!strcmp(*rest, "exec"))
			next("plain");
		if (!strcmp(*rest, "threadexec")) {
			pthread_create(&threads[0], NULL, replace, NULL);
			for (ready = 1;;)
				;
		}
	}
	return 0;
}
