/* 64-bit code that makes 100 i386 system calls with INT 80h (getpid, 20 there, writev's number here) among 100 own.
 *
 * Also 50 x32 calls (number | 1 << 30), which fail with ENOSYS where x32 is off, and count nowhere.
 */
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	for (int i = 0; i < 100; i++) {
		long result;

		__asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "r8", "r9", "r10", "r11", "memory");
		syscall(SYS_getppid);
		if (i & 1)
			syscall(SYS_getpgrp | 1 << 30);
	}
	return 0;
}
