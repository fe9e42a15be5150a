/* `execs N`: executes itself N times, each time by a thread that is not the leader while others make system calls.
 * Prints "ok" in the end.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static char left[16];

static void *call(void *unused)
{
	for (;;)
		syscall(SYS_getppid);
	return unused;
}

static void *replace(void *unused)
{
	char *args[] = { "execs", left, NULL };

	usleep(rand() % 2000);
	execv("/proc/thread-self/exe", args);
	_exit(126);
	return unused;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 0;
	pthread_t thread;

	if (n <= 0) {
		puts("ok");
		return 0;
	}
	snprintf(left, sizeof(left), "%d", n - 1);
	srand(n);
	for (int i = 0; i < 2; i++)
		pthread_create(&thread, NULL, call, NULL);
	pthread_create(&thread, NULL, replace, NULL);
	for (;;)
		pause();
}
