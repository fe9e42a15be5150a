/* Makes system calls of many kinds in the directory argv[1], so that what fires can be compared with them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static void need(long result)
{
	if (result < 0) {
		perror("files");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	char buffer[16] = "0123456789";
	struct iovec vector = { buffer, 4 };
	struct stat status;
	int fd, pipes[2];
	pid_t child;

	need(argc - 2);
	need(chdir(argv[1]));
	need(mkdir("made", 0777));
	need(fd = open("made/file", O_RDWR | O_CREAT, 0600));
	need(write(fd, buffer, 10));
	need(pread(fd, buffer, 4, 6));
	need(lseek(fd, 2, SEEK_SET));
	need(readv(fd, &vector, 1));
	need(fsync(fd));
	need(fstatat(fd, "", &status, AT_EMPTY_PATH));
	need(close(fd));
	read(fd, buffer, 1);
	open("nosuch", O_RDONLY);
	need(rename("made/file", "made/other"));
	need(unlink("made/other"));
	need(rmdir("made"));
	need(pipe2(pipes, O_CLOEXEC));
	need(write(pipes[1], buffer, 3));
	need(read(pipes[0], buffer, 3));
	need(socket(AF_UNIX, SOCK_STREAM, 0));
	need(munmap(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096));
	need(child = fork());
	if (child == 0)
		_exit(7);
	need(waitpid(child, NULL, 0));
	syscall(600, 1, 2, 3);
	return 0;
}
