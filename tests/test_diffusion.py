"""Mean square displacements and diffusion."""

import ase
import numpy as np
import pytest

from qiff import InputError, diffusion_coefficient, mean_square_displacement
from qiff.dynamics.diffusion import TO_1E9_M2_S

CELL = np.array([[9.0, 0.0, 0.0], [4.0, 8.0, 0.0], [0.0, -3.0, 7.0]])


def frames_of(paths: np.ndarray, symbols: str, **cell) -> list[ase.Atoms]:
    return [ase.Atoms(symbols, positions, **cell) for positions in paths]


@pytest.fixture(scope="module")
def walk() -> np.ndarray:
    """500 steps of 100 atoms, of 0.1 Å in each direction."""
    steps = 0.1 * np.random.default_rng(0).normal(size=(500, 100, 3))
    return np.cumsum(steps, axis=0)


def test_free_atoms_move_in_proportion_to_time():
    rng = np.random.default_rng(1)
    start, velocities = rng.normal(size=(2, 8, 3))
    velocities -= velocities.mean(0)
    times = 0.02 * np.arange(40)  # ps
    paths = start + times[:, None, None] * velocities
    expected = (velocities**2).sum(-1).mean() * times**2
    found = mean_square_displacement(frames_of(paths, "Ar8"), 20.0)
    np.testing.assert_allclose(found.times, times)
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    drifting = frames_of(paths + 5 * times[:, None, None], "Ar8")
    np.testing.assert_allclose(mean_square_displacement(drifting, 20.0).values, expected, atol=1e-9)
    moved = [((atoms.positions - drifting[0].positions) ** 2).sum(-1).mean() for atoms in drifting]
    assert np.abs(moved - expected).max() > 1  # control: the motion of the centre of mass


def test_displacements_are_averaged_over_atoms_of_an_element_and_times_of_origin(walk):
    paths, masses = walk[:30, :6], ase.Atoms("O2H4").get_masses()
    found = mean_square_displacement(frames_of(paths, "O2H4"), 1.0, "H").values
    own = paths - np.average(paths, axis=1, weights=masses)[:, None]
    direct = [
        np.mean([((own[t + lag, 2:] - own[t, 2:]) ** 2).sum(-1) for t in range(30 - lag)])
        for lag in range(30)
    ]
    np.testing.assert_allclose(found, direct, atol=1e-12)
    oxygen = mean_square_displacement(frames_of(paths, "O2H4"), 1.0, "O").values
    assert np.abs(found - oxygen).max() > 0.01  # control


def test_a_random_walk_diffuses(walk):
    interval = 50.0  # fs
    exact = 0.1**2 / (2 * interval / 1000) * (1 - 1 / 100)  # the centre of mass is at rest
    frames = frames_of(walk, "Ar100", cell=CELL, pbc=True)
    found = diffusion_coefficient(frames, interval)
    assert abs(found.value - exact) < 3 * found.error
    assert found.error < 0.1 * exact
    msd = mean_square_displacement(frames, interval)
    np.testing.assert_allclose(msd.values[:20], 6 * exact * msd.times[:20], rtol=0.05, atol=1e-9)
    assert TO_1E9_M2_S * found.value * 1e-9 == pytest.approx(found.value * 1e-20 / 1e-12)


def test_wrapped_positions_are_refused(walk):
    frames = frames_of(walk, "Ar100", cell=CELL, pbc=True)
    for atoms in frames:
        atoms.wrap()
    with pytest.raises(InputError, match=r"unwrapped positions, but atom \d+ jumps"):
        mean_square_displacement(frames, 1.0)
    for atoms in frames:
        atoms.pbc = False  # control: without the check, diffusion is wrong
    free, wrapped = (diffusion_coefficient(f, 1.0) for f in (frames_of(walk, "Ar100"), frames))
    assert abs(wrapped.value - free.value) > 0.5 * free.value


def test_what_cannot_be_computed_is_refused(walk):
    frames = frames_of(walk[:49], "Ar100")
    with pytest.raises(InputError, match="at least 10 for each of 5 blocks, but are 49"):
        diffusion_coefficient(frames, 1.0)
    with pytest.raises(InputError, match="`n_blocks` must be at least 1"):
        diffusion_coefficient(frames, 1.0, n_blocks=0)
    with pytest.raises(InputError, match="`interval_fs` must be positive"):
        mean_square_displacement(frames, 0.0)
    with pytest.raises(InputError, match="atoms of H, but frame 0 has none"):
        mean_square_displacement(frames, 1.0, "H")
    with pytest.raises(InputError, match="at least one frame"):
        mean_square_displacement([], 1.0)
    with pytest.raises(InputError, match="of one system, but frame 49 is ArHe and frame 0 is Ar"):
        mean_square_displacement([*frames, ase.Atoms("ArHe")], 1.0)
