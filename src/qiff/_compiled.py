"""Compiled programs: kept in a folder for the next process, dropped from memory if too many."""

import ctypes
import gc
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax
import jaxlib.utils  # pyright: ignore[reportMissingModuleSource]
from jax._src import compilation_cache
from jax._src.compilation_cache_interface import CacheInterface
from jax._src.core import trace_state_clean

from ._files import atomic_write

P = ParamSpec("P")
T = TypeVar("T")

VARIABLE = "QIFF_CACHE"
"""The environment variable that names another folder."""
OFF = "off"
_MIN_COMPILE_TIME = 0.1  # s
_MAX_SIZE = 1 << 30  # bytes, of all programs
_DIGEST = 32  # bytes, of SHA-256
_COMPILED = "/jax/core/compile/backend_compile_duration"  # one more program in memory

most_in_memory = 512
"""Programs after which all are dropped: each takes 2 MB, and 11 of the 65530 maps of Linux."""
_in_memory = 0


def folder() -> Path | None:
    """The folder that `QIFF_CACHE` names, or `qiff` in the cache folder of the user; None if `off`,
    or if the user has no home folder."""
    name = os.environ.get(VARIABLE)
    if name == OFF:
        return None
    users = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with suppress(RuntimeError):
        return Path(name or Path(users) / "qiff").expanduser()
    return None


@cache
def keep_compiled() -> None:
    """Let JAX keep compiled programs in `folder`, from now on.

    Nothing is changed if the user has given JAX a folder, or if the folder cannot be written. A
    program is read only by processors with the instructions for which it was compiled.
    """
    kept = folder()
    config: Any = jax.config
    if kept is None or config.jax_compilation_cache_dir is not None:
        return
    programs = kept / "programs" / _processor()
    with suppress(OSError):
        programs.mkdir(parents=True, exist_ok=True)
        _remove_oldest(programs.parent)
    if not os.access(programs, os.R_OK | os.W_OK | os.X_OK):
        return
    compilation_cache.get_file_cache = lambda path: (_Programs(Path(path)), path)
    config.update("jax_compilation_cache_dir", str(programs))
    config.update("jax_persistent_cache_min_compile_time_secs", _MIN_COMPILE_TIME)
    _silence()


def large_program(function: Callable[P, T]) -> Callable[P, T]:
    """`eqx.filter_jit` for a large program that is never a part of another one.

    XLA writes fused operations in its older way and optimises their code less: that takes half as
    long to compile, and they take no longer, as most of the work is in the kernels.
    """
    options: dict[str, Any] = {"xla_cpu_use_fusion_emitters": False}
    if not jax.config.read("jax_disable_most_optimizations"):  # which asks for even less
        options["xla_backend_optimization_level"] = 1

    @wraps(function)
    def traced(*args: P.args, **kwargs: P.kwargs) -> T:
        with _without_collection():
            return function(*args, **kwargs)

    return eqx.filter_jit(traced, compiler_options=options)  # pyright: ignore


@contextmanager
def _without_collection() -> Iterator[None]:
    """A context without garbage collection: tracing makes a million objects, of which it would find
    few to free in a tenth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Programs(CacheInterface):
    """Programs in files, each behind its SHA-256. One that is cut short or changed is removed and
    compiled again: what JAX itself keeps there could fail at every start, or compute otherwise."""

    def __init__(self, path: Path):
        self._path = path

    def get(self, key: str) -> Any:
        with suppress(OSError):
            content = (self._path / key).read_bytes()
            digest, program = content[:_DIGEST], content[_DIGEST:]
            if hashlib.sha256(program).digest() == digest:
                return program
            (self._path / key).unlink()
        return None

    def put(self, key: str, value: bytes) -> None:
        with suppress(OSError):
            atomic_write(self._path / key, hashlib.sha256(value).digest() + value)


def drop_compiled() -> None:
    """Drop the compiled programs of this process if there are more than `most_in_memory`.

    Those that are used again are compiled again, or read from `folder`. Without this a loop over
    models of different structure grows until the process is out of memory maps.
    """
    global _in_memory
    _count_compiled()
    if _in_memory > most_in_memory and trace_state_clean():
        _in_memory = 0
        jax.clear_caches()
        _return_memory()


def _return_memory() -> None:
    """Give memory that is free back to the system. glibc would keep it, in pieces that are too
    small for what comes next, so that every turn needed more."""
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


@cache
def _count_compiled() -> None:
    """Count the programs that are compiled from now on."""

    def count(event: str, duration_secs: float, **kwargs: Any) -> None:
        global _in_memory
        _in_memory += event == _COMPILED

    jax.monitoring.register_event_duration_secs_listener(count)


def _silence() -> None:
    """Switch off the log of XLA, which takes preferences of its compiler for instructions and logs
    every program that it reads as an error. `TF_CPP_MIN_LOG_LEVEL` switches it on, unless it is 1,
    the default of JAX."""
    set_level = getattr(jaxlib.utils, "absl_set_min_log_level", None)  # not in jaxlib 0.7
    if set_level is not None and os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "1":
        set_level(3)


def _processor() -> str:
    """The instructions of the processor, as a short hash."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        found = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
        return hashlib.sha256("\n".join(sorted(set(found))).encode()).hexdigest()[:16]
    return "any"


def _remove_oldest(programs: Path) -> None:
    """Remove those that have not been read for longest if all together are too large."""
    known = {path: path.stat() for path in programs.glob("*/*")}
    size = sum(found.st_size for found in known.values())
    for path in sorted(known, key=lambda path: known[path].st_atime):
        if size <= _MAX_SIZE:
            return
        path.unlink(missing_ok=True)
        size -= known[path].st_size
