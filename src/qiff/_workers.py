"""Independent tasks: in this process, on a local Dask cluster, or on the user's own."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Applies a function to items, as the builtin `map` does; results may come in any order.

Functions and items can be pickled. For instance `Pool.imap_unordered` of `multiprocessing`, or
`ThreadPoolExecutor.map`.
"""


@contextmanager
def workers() -> Iterator[Map]:
    """A context that yields what applies a function to items: the builtin `map`."""
    yield map
