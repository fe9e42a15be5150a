/* Blocks in one system call, `blocks KIND`, for 300 ms of its own timeout or until its child ends the wait,
 * then prints "RESULT ERRNO". Whoever interrupts the call without the program's leave changes that line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct timespec wait_for = { 0, 300000000 };
static int word;
static char here[] = "/tmp/blocks-XXXXXX";

static void handler(int signal)
{
	(void)signal;
}

/* In a child, after the wait has begun and been interrupted a few times: end it. */
#define LATER(action) do { if (fork() == 0) { usleep(400000); action; _exit(0); } } while (0)

static long epoll(void)
{
	struct epoll_event event;

	return epoll_wait(epoll_create1(0), &event, 1, 300);
}

static long sem(void)
{
	struct sembuf op = { 0, -1, 0 };
	int id = semget(IPC_PRIVATE, 1, 0600);
	long result = semtimedop(id, &op, 1, &wait_for);
	int error = errno;

	semctl(id, 0, IPC_RMID);
	errno = error;
	return result;
}

static long msg(void)
{
	long message[3] = { 1, 2, 3 };
	int id = msgget(IPC_PRIVATE, 0600);
	long result;

	LATER(msgsnd(id, message, 8, 0));
	result = msgrcv(id, message, 16, 0, 0);
	msgctl(id, IPC_RMID, NULL);
	return result;
}

static long sigtimed(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return sigtimedwait(&set, NULL, &wait_for);
}

static long pause_(void)
{
	LATER(kill(getppid(), SIGUSR1));
	return pause();
}

static long epoll_signal(void)
{
	struct epoll_event event;

	LATER(kill(getppid(), SIGUSR1));
	return epoll_wait(epoll_create1(0), &event, 1, 10000);
}

static long pipe_(void)
{
	int ends[2];
	char byte;

	if (pipe(ends))
		return -2;
	LATER(if (write(ends[1], "x", 1) < 0) _exit(1));
	return read(ends[0], &byte, 1);
}

static long accept_(int timeout)
{
	struct sockaddr_un name = { AF_UNIX, "" };
	struct timeval tv = { 0, 300000 };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "blocks %d", getpid());
	bind(s, (struct sockaddr *)&name, sizeof name);
	listen(s, 1);
	if (timeout)
		setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	else
		LATER(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&name, sizeof name));
	return accept(s, NULL, NULL) >= 0 ? 1 : -1;
}

static long aio(void)
{
	struct io_event event;
	aio_context_t context = 0;

	syscall(SYS_io_setup, 4, &context);
	return syscall(SYS_io_getevents, context, 1, 1, &event, &wait_for);
}

static long inotify(void)
{
	char buffer[512];
	int watch = inotify_init();

	inotify_add_watch(watch, mkdtemp(here), IN_ATTRIB);
	LATER(chmod(here, 0711));
	return read(watch, buffer, sizeof buffer) > 0;
}

static long run(const char *kind)
{
	fd_set set;

	FD_ZERO(&set);
	if (!strcmp(kind, "epoll_wait")) return epoll();
	if (!strcmp(kind, "epoll_signal")) return epoll_signal();
	if (!strcmp(kind, "semtimedop")) return sem();
	if (!strcmp(kind, "msgrcv")) return msg();
	if (!strcmp(kind, "sigtimedwait")) return sigtimed();
	if (!strcmp(kind, "poll")) return poll(NULL, 0, 300);
	if (!strcmp(kind, "pselect")) return pselect(0, &set, NULL, NULL, &wait_for, NULL);
	if (!strcmp(kind, "nanosleep")) return nanosleep(&wait_for, NULL);
	if (!strcmp(kind, "futex")) return syscall(SYS_futex, &word, FUTEX_WAIT, 0, &wait_for, NULL, 0);
	if (!strcmp(kind, "pause")) return pause_();
	if (!strcmp(kind, "pipe")) return pipe_();
	if (!strcmp(kind, "accept")) return accept_(0);
	if (!strcmp(kind, "accept_timeout")) return accept_(1);
	if (!strcmp(kind, "io_getevents")) return aio();
	if (!strcmp(kind, "inotify")) return inotify();
	if (!strcmp(kind, "wait")) { LATER(_exit(3)); return wait(NULL) > 0; }
	return -3;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = handler };
	long result;

	sigaction(SIGUSR1, &action, NULL);
	printf("%d\n", argc);
	fflush(stdout);
	errno = 0;
	result = run(argv[1]);
	printf("%ld %s\n", result, result < 0 ? strerrorname_np(errno) : "0");
	rmdir(here);
	return 0;
}
