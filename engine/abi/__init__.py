"""Numbers and layouts of Linux's user interface: names and values are the kernel's, no behaviour."""

__all__: list[str] = []
