"""Neighbour tables are those of ASE in any cell, and stress is that of known cases."""

import ase
import equinox as eqx
import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

import qiff
from qiff._checks import InputError
from qiff.atoms.graph import check_cell, displacements, graph
from qiff.atoms.neighbours import neighbour_table, pairs_within
from qiff.model.derivatives import derivatives
from qiff.testing import boxed

from .examples import scattered
from .test_potentials import Spoilt

CUTOFF = 3.0
EXAMPLES = 1000


def random_box(seed, n_atoms, pbc, longest):
    """Triclinic, thin or tiny, with atoms far outside the cell."""
    rng = np.random.default_rng(seed)
    lengths = rng.uniform(1.2, longest, size=3)
    cell = np.diag(lengths) + np.tril(rng.uniform(-1, 1, size=(3, 3)) * lengths, -1)
    turned = cell @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    positions = rng.uniform(-2, 3, size=(n_atoms, 3)) @ turned
    return ase.Atoms(f"H{n_atoms}", positions, cell=turned, pbc=pbc)


def as_set(first, second, images):
    return sorted(zip(first.tolist(), second.tolist(), *images.T.tolist(), strict=True))


def listed(table):
    first = np.repeat(np.arange(len(table.mask)), table.mask.sum(1))
    images = np.zeros((len(first), 3), int) if table.shifts is None else table.shifts[table.mask]
    return as_set(first, table.neighbours[table.mask], images)


random_boxes = given(
    seed=st.integers(0, 2**32 - 1),
    n_atoms=st.integers(1, 8),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    longest=st.sampled_from([1.5, 4.0, 12.0]),
)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@random_boxes
def test_tables_are_those_of_ase_in_any_cell(seed, n_atoms, pbc, longest):
    box = random_box(seed, n_atoms, pbc, longest)
    table = neighbour_table(box.positions, CUTOFF, box.cell.array, box.pbc)
    assert listed(table) == as_set(*neighbor_list("ijS", box, CUTOFF))


def test_control_a_table_of_nearest_images_alone_is_seen():
    """In a thin cell an atom has several images of a neighbour within the cutoff."""
    box = random_box(0, 3, True, 1.5)
    first, second, images = neighbor_list("ijS", box, CUTOFF)
    nearest = list({(i, j): k for k, (i, j) in enumerate(zip(first, second, strict=True))}.values())
    table = neighbour_table(box.positions, CUTOFF, box.cell.array, box.pbc)
    assert listed(table) != as_set(first[nearest], second[nearest], images[nearest])


@pytest.mark.parametrize("pbc", [(True, True, False), (False, False, True)])
def test_periodic_along_some_vectors_alone(pbc):
    """A slab or a wire whose other cell vectors are zero."""
    atoms = scattered("OHHC")
    atoms.set_cell(np.diag([3.1, 2.9, 3.3]) * np.array(pbc)[:, None])
    atoms.pbc = pbc
    seen = graph(atoms, "float64", CUTOFF)
    first, distance = neighbor_list("id", atoms, CUTOFF)
    found = np.linalg.norm(np.asarray(displacements(seen)), axis=-1)
    for i in range(len(atoms)):
        np.testing.assert_allclose(np.sort(found[i][seen.mask[i]]), np.sort(distance[first == i]))


def test_stress_of_a_simple_cubic_crystal():
    r"""Six neighbours at distance $a$: $\sigma_{xx} = 2 a f'(a) / a^3$ of $E = \sum f(r)$."""
    a = 4.5
    crystal = ase.Atoms("H", cell=[a, a, a], pbc=True)
    with_forces = derivatives(Spoilt(), graph(crystal, "float64", 5.0))
    slope = -8 * a / 25 * (1 - a**2 / 25) ** 3
    expected = np.array([2 * slope / a**2] * 3 + [0] * 3)
    np.testing.assert_allclose(np.asarray(with_forces.stress), expected, atol=1e-14)
    assert np.all(expected[:3] < -1e-4)  # pushed apart: pressure is positive


def test_control_the_stress_without_images_is_another():
    seen = graph(boxed(scattered("OHHC")), "float64", 5.0)
    inner = seen.mask & ~np.asarray(seen.shifts).any(-1)
    right, wrong = (
        np.asarray(derivatives(Spoilt(), eqx.tree_at(lambda g: g.mask, seen, mask)).stress)
        for mask in (seen.mask, inner)
    )
    assert np.abs(right - wrong).max() > 1e-3


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([0, 0, 0], "its cell vectors .* are zero or linearly dependent"),
        ([[3, 0, 0], [6, 0, 0], [0, 0, 3]], "zero or linearly dependent"),
        ([np.nan, 3, 3], "the cell must be finite"),
    ],
)
def test_a_wrong_cell_is_one_clear_line(cell, message):
    atoms = ase.Atoms("HHO", np.eye(3), cell=cell, pbc=True)
    with pytest.raises(InputError, match=message):
        qiff.predict(Spoilt(), atoms)


@pytest.mark.parametrize("length", [1e3, 1e6, 1e12, 1e90])
def test_atoms_of_a_molecule_may_be_far_apart(length):
    """Along a line, in a plane or in space; with the pairs that are near, in the same order."""
    near = np.random.default_rng(0).uniform(0, 9, size=(40, 3))
    for axes in ([1, 0, 0], [1, -1, 0], [1, 1, 1]):
        far = np.concatenate([near, [np.array(axes) * length]])
        wanted, found = (neighbour_table(at, CUTOFF) for at in (near, far))
        same = found.neighbours[:-1] == wanted.neighbours
        assert same[wanted.mask].all()
        np.testing.assert_array_equal(found.mask[:-1], wanted.mask)
        assert not found.mask[-1].any()


def test_cells_in_which_no_neighbours_can_be_searched_are_refused():
    flat = ase.Atoms("H2", [[0, 0, 0], [1, 0, 0]], cell=[600, 600, 0.6], pbc=True)
    assert pairs_within(0.7, flat.positions, flat.cell.array, flat.pbc).distances.min() < 0.7
    for cell, pbc, at in (([1e9, 9, 9], [1, 1, 1], 1), ([9, 9, 9], [1, 1, 0], 1e9)):
        at = np.array([[0, 0, 0], [0, 0, at]], float)
        with pytest.raises(InputError, match="Neighbours cannot be searched in"):
            pairs_within(CUTOFF, at, np.diag(cell) * 1.0, np.array(pbc, bool))
    tiny = ase.Atoms("H", cell=[9, 9, 0.01], pbc=True)
    with pytest.raises(InputError, match=r"must be at least 0\.5 Å high .* but is 0\.01"):
        check_cell(tiny, "a")
