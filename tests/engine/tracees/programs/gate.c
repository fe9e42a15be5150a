/* Runs argv[1..] as a grandchild of whoever starts it, held back until a byte arrives on standard input.
 *
 * The grandchild prints its pid; when it has ended, its wait status is printed. From its pid on it makes
 * no system call before execve but recvfrom, which the programs under test do not use.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int pair[2], status;
	char byte;
	pid_t pid;

	if (argc < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return 2;
	pid = fork();
	if (pid == 0) {
		dprintf(1, "%d\n", getpid());
		if (recv(pair[1], &byte, 1, 0) == 1)
			execv(argv[1], argv + 1);
		_exit(127);
	}
	if (read(0, &byte, 1) == 1 && send(pair[0], &byte, 1, 0) != 1)
		return 2;
	while (waitpid(pid, &status, 0) < 0)
		;
	printf("%d\n", status);
	return 0;
}
