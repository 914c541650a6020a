"""The water circuit: values, forces and gradients of losses, against other simulators.

    python -m benchmarks.circuits

prints the rows of 256 configurations alone; see `__main__.py` for all.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qiff.atoms.frames import Frames
from qiff.atoms.graph import Graph
from qiff.model.build import build
from qiff.model.derivatives import energy, energy_and_forces
from qiff.model.molecule import Molecule, MoleculeSettings
from qiff.model.predict import enable_x64
from qiff.quantum import engine
from qiff.training.loss import Loss

from . import peers
from .timing import first_call, side_by_side

MODELS = {"D=6": {"n_layers": 6}, "D=10, B=2": {"n_layers": 10, "n_repeats": 2}}
WATER = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
QUICK = [  # model, batch, precision, whether the slow peers take part
    ("D=6", 256, "float64", True),
    ("D=6", 256, "float32", True),
    ("D=6", 1, "float64", True),
    *(("D=6", batch, dtype, False) for batch in (64, 4096) for dtype in ("float64", "float32")),
    *(("D=10, B=2", batch, "float64", False) for batch in (1, 64, 256, 4096)),
]
FULL = [
    (model, batch, dtype, True)
    for model in MODELS
    for batch in (1, 64, 256, 4096)
    for dtype in ("float64", "float32")
]


def frames(batch: int, dtype: str) -> Frames:
    rng = np.random.default_rng(0)
    positions = WATER + 0.1 * rng.normal(size=(batch, 3, 3))
    numbers = np.tile(np.array([8, 1, 1], np.int32), (batch, 1))
    return Frames(
        Graph(
            positions=jnp.asarray(positions, dtype),
            numbers=jnp.asarray(numbers),
            neighbours=jnp.zeros((batch, 3, 0), int),
            mask=jnp.zeros((batch, 3, 0), bool),
        ),
        {
            "energy": jnp.asarray(rng.normal(size=batch), dtype),
            "forces": jnp.asarray(rng.normal(size=(batch, 3, 3)), dtype),
        },
    )


def tasks(name: str, settings: dict[str, Any]) -> dict[str, Callable]:
    """Jitted functions of frames, by what they compute."""
    key = jax.random.key(0)
    config = {"kind": "triatomic", "elements": ["O", "H", "H"], **settings, "engine": name}
    water = build(config, key)
    on_all = lambda function: lambda data: jax.vmap(function, (None, 0))(water, data.graph)
    slope = lambda loss: lambda data: jax.value_and_grad(loss)(water, data)
    found = {
        "value": on_all(energy),
        "energy and forces": on_all(energy_and_forces),
        "gradient of energy loss": slope(Loss({"energy": 1.0})),
        "gradient of energy and force loss": slope(Loss({"energy": 1.0, "forces": 1.0})),
    }
    return {task: jax.jit(function) for task, function in found.items()}


def run(full: bool) -> Iterator[dict[str, Any]]:
    """Rows: seconds of every engine, side by side."""
    slow = peers.register()
    for model, batch, dtype, all_peers in FULL if full else QUICK:
        yield from compared(["native", "xla", *(slow if all_peers else [])], model, batch, dtype)


def compared(names: list[str], model: str, batch: int, dtype: str) -> Iterator[dict[str, Any]]:
    """A row for each task: seconds of engines side by side, whose results must be equal."""
    with enable_x64(dtype == "float64"):
        data = frames(batch, dtype)
        functions = {name: tasks(name, MODELS[model]) for name in names}
        for task in functions[names[0]]:
            calls = {n: partial(functions[n][task], data) for n in names}
            first = {n: first_call(call) for n, call in calls.items()}
            _check_equal({n: call() for n, call in calls.items()}, dtype)
            memory = {n: _memory(functions[n][task], data) for n in names}
            yield {
                "model": model, "batch": batch, "dtype": dtype, "task": task,
                "seconds": side_by_side(calls), "first_call": first, "temporary_bytes": memory,
            }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """A row of `compared` in words."""
    ours = row["seconds"]["native"]
    ratios = ", ".join(f"{n} {s / ours:.1f}x" for n, s in row["seconds"].items() if n != "native")
    what = f"{row['model']}, batch {row['batch']}, {row['dtype']}, {row['task']}"
    return f"{what}: {1e6 * ours:.1f} µs; {ratios}"


def run_others(batch: int = 256) -> Iterator[dict[str, Any]]:
    """lightning.qubit (value, adjoint gradient) and Aer (value), on angles of the circuit."""
    with enable_x64(True):
        water = Molecule(
            MoleculeSettings(kind="triatomic", elements=("O", "H", "H")), key=jax.random.key(0)
        )
        program = water.circuit.program
        vectors = jax.vmap(water.vectors)(frames(batch, "float64").graph)
        angles = jax.vmap(water.circuit.angles)(vectors)
        value = lambda a: engine.expectations(program, a)[0]
        native = jax.jit(jax.vmap(value))
        aer = peers.aer(program, np.asarray(angles))
        np.testing.assert_allclose(aer(), native(angles), atol=1e-9)
        calls = {"native": lambda: native(angles), "aer": aer}
        yield {"task": "value", "batch": batch, "seconds": side_by_side(calls, rounds=3)}
        one, gradient = angles[0], jax.jit(jax.value_and_grad(value))
        lightning = peers.lightning(program, np.asarray(one))
        np.testing.assert_allclose(lightning["value"](), value(one), atol=1e-9)
        calls = {"native": lambda: gradient(one), "lightning": lightning["gradient"]}
        yield {"task": "gradient in the angles", "batch": 1, "seconds": side_by_side(calls)}


def _memory(function: Any, data: Frames) -> int:
    """Bytes XLA sets aside besides inputs and outputs; the kernels' own states come on top."""
    return int(function.lower(data).compile().memory_analysis().temp_size_in_bytes)


def _check_equal(found: dict[str, Any], dtype: str) -> None:
    """All to the first."""
    tolerance = {"float64": 1e-9, "float32": 1e-3}[dtype]
    expected = jax.tree.leaves(next(iter(found.values())))
    for name, values in found.items():
        for a, b in zip(jax.tree.leaves(values), expected, strict=True):
            np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance, err_msg=name)


if __name__ == "__main__":
    engines = ["native", "xla", *peers.register()]
    for precision in ("float64", "float32"):
        for found in compared(engines, "D=6", 256, precision):
            print(line(found), flush=True)
