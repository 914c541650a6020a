"""The command `qiff`. Where this is loaded, `import qiff` loads nothing before it is used."""

import os
import signal


def entry() -> None:
    """Run the command line and exit with its code."""
    from qiff._process import run

    run(_main)


def _main() -> int:
    from qiff._signals import end_late
    from qiff.cli import main

    return main(begin=end_late)


def _leave(number: int, frame: object) -> None:
    """An interrupt before anything has begun."""
    os.write(2, b"qiff: interrupted.\n")
    os._exit(130)


if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # at once: only the command loads this
    signal.signal(signal.SIGINT, _leave)
