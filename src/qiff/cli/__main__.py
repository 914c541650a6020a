"""`python -m qiff.cli`."""

from . import entry

entry()
