"""What the loop shows while it works."""

from collections.abc import Callable

Show = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""
