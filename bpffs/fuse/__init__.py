"""pyfuse3 over kernfs: inode numbers, open files, parked readers, polling, mounting.

A request finds its node by inode number (`inodes`) or its handle by file handle number (`openfiles`), calls
it through `calls` (which parks, or goes to a worker thread), and `answers` turns what was raised into
an errno. No module here knows what a file means.
"""

__all__: list[str] = []
