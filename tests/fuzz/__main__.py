"""Change inputs at random and read them, target by target; `make fuzz`.

Every target has a process of its own. An input that takes more than 5 s or 1 GB, or ends the
process, is a find as one that ends in a traceback is. The first of each kind is kept in `corpus/`,
which the tests replay.
"""

import argparse
import sys
import time

from .watch import NAMES, fuzz


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", default=NAMES, help=", ".join(NAMES))
    parser.add_argument("--seconds", type=float, default=60, help="of each target")
    parser.add_argument("--inputs", type=int, default=10**9, help="of each target, at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if unknown := set(options.targets) - set(NAMES):
        parser.error(f"unknown targets {', '.join(unknown)}; known: {', '.join(NAMES)}")
    n_finds = 0
    for name in options.targets:
        begin = time.time()
        found = fuzz(name, options.seed, options.seconds, options.inputs)
        n_finds += found.finds
        rate = found.inputs / (time.time() - begin)
        print(
            f"{name:12}{found.inputs:10} inputs{found.finds:6} finds{rate:8.0f} per second",
            flush=True,
        )
    return n_finds > 0


if __name__ == "__main__":
    sys.exit(main())
