/* Becomes somebody else step by step and calls getppid after each: name, uid, CPU, thread, child, program.
 *
 * Prints "TID TGID UID COMM CPU" (the CPU as getcpu says, or -1 where it is not pinned) for each call.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(int pinned)
{
	char name[16];
	int cpu = pinned ? sched_getcpu() : -1;

	syscall(SYS_getppid);
	prctl(PR_GET_NAME, name);
	printf("%d %d %d %s %d\n", gettid(), getpid(), getuid(), name, cpu);
	fflush(stdout);
}

static void *thread(void *unused)
{
	prctl(PR_SET_NAME, "a thread");
	say(0);
	return unused;
}

static void pin(int last)
{
	cpu_set_t set, one;

	sched_getaffinity(0, sizeof set, &set);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set)) {
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			sched_setaffinity(0, sizeof one, &one);
			if (!last)
				break;
		}
	say(1);
	sched_setaffinity(0, sizeof set, &set);
}

int main(int argc, char **argv)
{
	char *args[] = { "elsewhere", "again", NULL };
	pthread_t id;

	say(0);
	if (argc > 1)
		return 0;
	prctl(PR_SET_NAME, "renamed (x) y");
	say(0);
	pin(1);
	pin(0);
	pthread_create(&id, NULL, thread, NULL);
	pthread_join(id, NULL);
	if (fork() == 0) {
		say(0);
		if (getuid() == 0 && setuid(65534) == 0)
			say(0);
		exit(0);
	}
	wait(NULL);
	execv(argv[0], args);
	return 1;
}
