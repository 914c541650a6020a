"""Change inputs at random and read them, target by target; `make fuzz`.

Every target has a process of its own, whose memory is limited; an input that takes more than 5 s,
or ends the process, is a find as one that ends in a traceback is. The first of each kind is kept in
`corpus/`, which the tests replay.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

from .targets import TARGETS
from .worker import CORPUS, keep, work

_HANGS = 120  # s without an input being done


def fuzz(name: str, seed: int, seconds: float, most: int) -> int:
    """The number of inputs of a target; its process is begun again if it ends or hangs."""
    context = multiprocessing.get_context("spawn")
    done, end = context.Value("q", 0), time.time() + seconds
    while done.value < most and time.time() < end:
        with tempfile.TemporaryDirectory() as folder:
            arguments = (name, seed, done.value, end - time.time(), most, folder, done)
            process = context.Process(target=work, args=arguments)
            process.start()
            seen, since = done.value, time.time()
            while process.is_alive():
                process.join(1)
                if done.value != seen:
                    seen, since = done.value, time.time()
                elif time.time() - since > _HANGS:
                    process.kill()
            if process.exitcode:
                (path,) = (Path(folder) / "input").iterdir()
                keep(name, path.suffix, path.read_bytes(), f"exit code {process.exitcode}")
    return done.value


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", default=list(TARGETS), help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=60, help="of each target")
    parser.add_argument("--inputs", type=int, default=10**9, help="of each target, at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    before = _n_kept()
    for name in options.targets:
        begin = time.time()
        n_inputs = fuzz(name, options.seed, options.seconds, options.inputs)
        rate = n_inputs / (time.time() - begin)
        print(f"{name:12}{n_inputs:10} inputs{rate:8.0f} per second", flush=True)
    return _n_kept() > before


def _n_kept() -> int:
    return sum(path.is_file() for path in CORPUS.rglob("*"))


if __name__ == "__main__":
    sys.exit(main())
