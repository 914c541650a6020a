"""Commands that are killed at an operation on a file, and continued; see `test_crash.py`."""
