/* A 32-bit program without a C library (built with -m32 -nostdlib -static): 200 times open(2), number 5 there and
 * fstat's in 64-bit code; then a wait of 300 ms in epoll_wait; prints "ok" when that was not interrupted.
 */
static int call(int number, int a, int b, int c, int d)
{
	int result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
	return result;
}

enum { EXIT = 1, WRITE = 4, OPEN = 5, EPOLL_CREATE1 = 329, EPOLL_WAIT = 256 };

void _start(void)
{
	static const char path[] = "/nonexistent/file";
	static char event[16];
	int set = call(EPOLL_CREATE1, 0, 0, 0, 0);

	for (int i = 0; i < 200; i++)
		call(OPEN, (int)path, 0, 0, 0);
	call(WRITE, 1, (int)"2\n", 2, 0);
	if (call(EPOLL_WAIT, set, (int)event, 1, 300) == 0)
		call(WRITE, 1, (int)"ok\n", 3, 0);
	call(EXIT, 0, 0, 0, 0);
}
