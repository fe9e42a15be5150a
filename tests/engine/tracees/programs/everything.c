/* Makes every system call number from 0 to LAST once, each in a child of its own, with arguments that do no harm.
 *
 * Left out are vhangup, which would end the terminal's session, and sync, which may take long.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LAST = 475 };

static long call(long nr, long arg)
{
	long result = nr;
	register long r10 __asm__("r10") = arg;
	register long r8 __asm__("r8") = arg;
	register long r9 __asm__("r9") = arg;

	__asm__ volatile("syscall"
			 : "+a"(result)
			 : "D"(arg), "S"(arg), "d"(arg), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

/* The child of vfork shares the stack, so it ends without touching it. */
static void call_vfork(void)
{
	long result = SYS_vfork;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "mov %1, %%eax\n\t"
			 "xor %%edi, %%edi\n\t"
			 "syscall\n"
			 "1:"
			 : "+a"(result)
			 : "i"(SYS_exit)
			 : "rcx", "r11", "rdi", "memory");
}

static void ignore(int number)
{
	(void)number;
}

static void child(int nr)
{
	struct itimerval soon = { .it_value = { .tv_usec = 50000 } };

	switch (nr) {
	case SYS_vfork:
		call_vfork();
		break;
	case SYS_fork:
		if (call(nr, -1) > 0)
			wait(NULL);
		break;
	case SYS_pause:
		signal(SIGALRM, ignore);
		setitimer(ITIMER_REAL, &soon, NULL);
		call(nr, -1);
		break;
	default:
		call(nr, -1);
	}
	call(SYS_exit, 0);
}

int main(void)
{
	struct rlimit none = { 0, 0 };

	/* rt_sigreturn finds no frame and kills its caller. */
	setrlimit(RLIMIT_CORE, &none);
	for (int nr = 0; nr <= LAST; nr++) {
		pid_t pid;

		if (nr == SYS_vhangup || nr == SYS_sync)
			continue;
		pid = fork();
		if (pid == 0)
			child(nr);
		waitpid(pid, NULL, 0);
	}
	return 0;
}
