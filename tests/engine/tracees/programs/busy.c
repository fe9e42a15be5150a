/* Load for storms: `busy SECONDS`: two threads that open files, a main thread that forks children which open files
 * and end, one in three through vfork and exec, until time is up. Prints "ok" when nothing unexpected happened.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int over, wrong;

static void *work(void *unused)
{
	struct timespec nap = { 0, 50000 };

	for (int i = 0; !over; i++) {
		int fd = openat(AT_FDCWD, "/dev/null", O_RDONLY);

		if (fd < 0 || close(fd))
			wrong++;
		if (i % 16 == 0 && nanosleep(&nap, NULL))
			wrong++;
	}
	return unused;
}

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 1);
	char *args[] = { "true", NULL };
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, work, NULL);
	for (int i = 0; time(NULL) < end; i++) {
		int status = 0;
		pid_t pid = i % 3 ? fork() : vfork();

		if (pid == 0 && i % 3 == 0) {
			execv("/bin/true", args);
			_exit(1);
		}
		if (pid == 0) {
			for (int k = 0; k < 20; k++)
				close(open("/dev/null", O_RDONLY));
			_exit(0);
		}
		while (waitpid(pid, &status, 0) < 0)
			wrong += errno != EINTR;
		wrong += status != 0;
	}
	over = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf(wrong ? "%d wrong\n" : "ok\n", wrong);
	return wrong != 0;
}
