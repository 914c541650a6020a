"""Compiled programs are kept between processes, and give the same numbers as new ones."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import qiff
from qiff import _compiled
from qiff._precision import enable_x64
from qiff.atoms.data.dataset import write

CODE = """
import sys, jax, qiff
loaded = []
jax.monitoring.register_event_listener(lambda name, **_: loaded.append(name.split("/")[-1]))
atoms = qiff.read(qiff.Source(sys.argv[2]))[0]
found = qiff.predict(qiff.load(sys.argv[1]), atoms)
print(loaded.count("cache_hits"), found.energy.hex(), found.forces.tobytes().hex())
"""
"""Prints how many programs came from the folder, and what was predicted to the last bit."""


@pytest.fixture
def files(tmp_path) -> list[str]:
    """A model with circuits of the preferred engine, and a configuration."""
    frames = qiff.read(qiff.Source("bundled:water"))[:20]
    model = {"kind": "triatomic", "elements": ["O", "H", "H"], "n_layers": 2}
    qiff.save(qiff.build_for(frames, model, seed=0), tmp_path / "model.qiff")
    write(tmp_path / "in.xyz", frames[:1])
    return [str(tmp_path / "model.qiff"), str(tmp_path / "in.xyz")]


def predicted(files: list[str], cache: object, **environment: str) -> tuple[int, list[str]]:
    """What a new process prints; it may print nothing else, and no warning."""
    variables = {"QIFF_CACHE": str(cache), "JAX_DISABLE_MOST_OPTIMIZATIONS": "0", **environment}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *files],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    n_loaded, *numbers = done.stdout.split()
    return int(n_loaded), numbers


def kept(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_second_process_loads_what_the_first_compiled_with_the_same_results(files, tmp_path):
    cache = tmp_path / "cache"
    _, expected = predicted(files, "off")
    assert not cache.exists()
    n_loaded, first = predicted(files, cache)
    assert (n_loaded, first) == (0, expected)  # control: nothing there yet
    assert kept(cache)
    n_loaded, second = predicted(files, cache)
    assert (n_loaded > 0, second) == (True, expected)


@pytest.mark.slow
def test_programs_that_are_cut_short_or_changed_are_compiled_again(files, tmp_path):
    """Without a word, once: what is compiled replaces them."""
    cache = tmp_path / "cache"
    _, expected = predicted(files, cache)
    paths = kept(cache)
    for number, path in enumerate(paths):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes((content, content[:1000], b"")[number % 3])
    assert predicted(files, cache) == (0, expected)
    assert set(kept(cache)) == set(paths)
    n_loaded, numbers = predicted(files, cache)
    assert (n_loaded > 0, numbers) == (True, expected)


def test_a_program_is_returned_as_it_was_or_not_at_all(tmp_path):
    programs = _compiled._Programs(tmp_path / "programs")
    assert programs.get("key") is None
    programs.put("key", b"program")
    assert programs.get("key") == b"program"  # control
    (path,) = kept(tmp_path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytes(byte ^ (i == place) for i, byte in enumerate(whole))
        for broken in (changed, whole[:place]):
            path.write_bytes(broken)
            assert programs.get("key") is None
            assert not path.exists()


def test_a_folder_of_programs_that_cannot_be_used_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    programs = _compiled._Programs(tmp_path / "file" / "programs")
    programs.put("key", b"program")
    assert programs.get("key") is None


@pytest.mark.slow
def test_a_folder_that_jax_was_given_is_used_instead(files, tmp_path):
    own = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    predicted(files, tmp_path / "cache", **own)
    assert kept(tmp_path / "own")
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_no_error(files, tmp_path):
    (tmp_path / "file").write_text("")
    n_loaded, _ = predicted(files, tmp_path / "file" / "cache")
    assert n_loaded == 0


def test_the_folder_is_in_the_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("QIFF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _compiled.folder() == tmp_path / "qiff"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert _compiled.folder() == tmp_path / "home" / ".cache" / "qiff"
    monkeypatch.setenv("QIFF_CACHE", "~/other")
    assert _compiled.folder() == tmp_path / "home" / "other"
    monkeypatch.setenv("QIFF_CACHE", "off")
    assert _compiled.folder() is None


def test_without_a_home_folder_nothing_is_kept(monkeypatch):
    for name in ("QIFF_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert _compiled.folder()  # control
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    assert _compiled.folder() is None


def test_programs_that_were_not_read_for_longest_are_removed(monkeypatch, tmp_path):
    (tmp_path / "processor").mkdir()
    for age, name in enumerate(("new", "old", "oldest")):
        path = tmp_path / "processor" / name
        path.write_bytes(bytes(10))
        os.utime(path, (1e9 - age, 1e9))
    _compiled._remove_oldest(tmp_path)
    assert len(kept(tmp_path)) == 3  # control: there is room
    monkeypatch.setattr(_compiled, "_MAX_SIZE", 15)
    _compiled._remove_oldest(tmp_path)
    assert [path.name for path in kept(tmp_path)] == ["new"]


def test_compiled_programs_are_dropped_when_they_are_too_many(monkeypatch):
    dropped = []
    monkeypatch.setattr(jax, "clear_caches", lambda: dropped.append(1))
    monkeypatch.setattr(_compiled, "most_in_memory", 3)
    monkeypatch.setattr(_compiled, "_in_memory", 0)
    with enable_x64(True):
        for n in range(1, 6):
            jax.jit(lambda x: 2 * x)(np.ones(n))
    assert not dropped

    def traced(x):
        with enable_x64(True):
            return x

    jax.eval_shape(traced, 1.0)
    assert not dropped  # while something is traced
    for _ in range(2):
        with enable_x64(True):
            assert dropped == [1]


@pytest.mark.slow
def test_many_models_in_one_process_do_not_exhaust_it(monkeypatch):
    """Each takes 13 MB and 130 memory maps, without end if nothing is dropped."""
    water = qiff.read(qiff.Source("bundled:water"))[0]

    def use(n_layers: int) -> int:
        model = {"kind": "triatomic", "elements": ["O", "H", "H"], "n_layers": n_layers}
        potential = qiff.build(model, jax.random.key(0))
        qiff.Calculator(potential).get_potential_energy(water)
        qiff.predict(potential, [water])
        return len(Path("/proc/self/maps").read_text().splitlines())

    monkeypatch.setattr(_compiled, "most_in_memory", 30)
    bounded = [use(n) for n in range(1, 31)]
    monkeypatch.setattr(_compiled, "most_in_memory", 10**6)
    growing = [use(n) for n in range(31, 46)]
    assert max(bounded[20:]) < max(bounded[5:15]) + 100
    assert growing[-1] > growing[0] + 500  # control
