"""Memory of one process that predicts, fits and loads for a long time."""

import gc
import itertools
import random
from pathlib import Path

import pytest

import qiff
from qiff import Training, _compiled
from qiff.training.fit import fit, initial_state

LIH = qiff.read(qiff.Source("bundled:lih"))
N_PREDICTIONS, N_FITS = 20_000, 500


def resident() -> float:
    """Memory of this process in MB."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def model(n_layers: int, n_repeats: int) -> dict:
    elements = ["Li", "H"]
    return {"kind": "diatomic", "elements": elements, "n_layers": n_layers, "n_repeats": n_repeats}


@pytest.mark.slow
def test_predictions_take_no_more_memory_with_time(record_property):
    """By the calculator and in batches, at other positions each time."""
    potential, atoms, found = qiff.build_for(LIH, model(2, 1), seed=0), LIH[0].copy(), []
    atoms.calc = qiff.Calculator(potential)
    for n in range(N_PREDICTIONS):
        atoms.positions[1, 2] += 1e-6
        atoms.get_forces()
        if n % 100 == 0:
            qiff.predict(potential, LIH[:10])
        if n % (N_PREDICTIONS // 10) == 0:
            found.append(resident())
    record_property("resident_MB", found)
    assert found[-1] - found[1] < 10
    kept = [atoms.calc.results | {"room": bytes(10_000)} for _ in range(2000)]  # control
    assert resident() - found[-1] > 10
    assert kept


@pytest.mark.slow
def test_fits_and_loads_of_models_of_different_sizes_take_bounded_memory(
    tmp_path, monkeypatch, record_property
):
    """Each compiles some programs; all are dropped when they are too many."""
    most = _compiled.most_in_memory if _compiled.most_in_memory < 10**6 else 512
    monkeypatch.setattr(_compiled, "most_in_memory", most)
    sizes, found = [*itertools.product(range(1, 26), range(1, 6), (20, 30, 40, 50))], []
    random.Random(0).shuffle(sizes)  # or the programs of the second half would be larger
    for n, (n_layers, n_repeats, n_frames) in enumerate(sizes[:N_FITS]):
        training = Training(1, 8, evaluate_every=1, forces_weight=0.0)
        potential = qiff.build_for(LIH, model(n_layers, n_repeats), seed=n)
        parts = qiff.stack(LIH[:n_frames]), qiff.stack(LIH[n_frames : n_frames + 10])
        fitted = fit(initial_state(potential, training), *parts, training, seed=n).best
        qiff.save(fitted, tmp_path / "model.qiff")
        qiff.predict(qiff.load(tmp_path / "model.qiff"), LIH[: 1 + n % 3])
        found.append(resident())
    record_property("resident_MB", found[:: max(1, N_FITS // 20)])
    half = len(found) // 2
    assert max(found[half:]) < 1.1 * max(found[:half])
