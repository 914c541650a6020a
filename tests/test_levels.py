"""Levels of theory: forces and stress against differences, other programs, failures, names."""

import pickle
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ase.build
import ase.units
import numpy as np
import pytest
from ase.calculators.calculator import Calculator, FileIOCalculator, all_changes

from qiff import InputError
from qiff._checks import MissingExtraError
from qiff.atoms.data.dataset import read
from qiff.atoms.data.source import Source
from qiff.labelling.level import LabelError, Level, electrons
from qiff.labelling.levels import find_level

NEEDS = {"gfn": "tblite", "/": "pyscf"}
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def level_of(name: str, settings: dict | None = None) -> Level:
    """A level; the test is skipped where its program is not installed."""
    for part, package in NEEDS.items():
        if part in name:
            pytest.importorskip(package, reason=f"needs {package}")
    return find_level(name, settings or {})


def bent() -> ase.Atoms:
    """Water away from its minimum."""
    return ase.Atoms("OHH", [[0, 0, 0], [0.99, 0.1, 0.02], [-0.2, 0.91, 0.1]])


def box() -> ase.Atoms:
    """Two molecules of water in an oblique cell."""
    atoms = bent()
    other = bent()
    other.rotate(70, (1, 2, 3))
    other.translate([3.0, 0.3, 0.2])
    atoms += other
    atoms.set_cell([[6.0, 0, 0], [0.4, 5.0, 0], [0.2, -0.3, 5.5]])
    atoms.pbc = True
    return atoms


def copper() -> ase.Atoms:
    atoms = ase.build.bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell.array @ [[1.03, 0.01, 0], [0, 0.99, 0.02], [0, 0, 1]], True)
    return atoms


def slopes(level: Level, atoms: ase.Atoms, step: float = 1e-3) -> np.ndarray:
    """Minus the slope of the energy along each coordinate of the second atom."""
    energies = np.zeros((3, 2))
    for axis, end in np.ndindex(energies.shape):
        moved = atoms.copy()
        moved.positions[1, axis] += (-step, step)[end]
        energies[axis, end] = level.label(moved)["energy"]
    return (energies[:, 0] - energies[:, 1]) / (2 * step)


def strain_slopes(level: Level, atoms: ase.Atoms, step: float = 2e-4) -> np.ndarray:
    """Slopes of the energy along each strain, over the volume."""

    def energy(pair: tuple[int, int], size: float) -> float:
        strain = np.zeros((3, 3))
        strain[pair] += size / 2
        strain[pair[::-1]] += size / 2
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        return level.label(strained)["energy"]

    ends = [(energy(pair, step), energy(pair, -step)) for pair in VOIGT]
    return np.array([ahead - behind for ahead, behind in ends]) / (2 * step * atoms.get_volume())


def check(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


# --- derivatives --------------------------------------------------------------------------------

SLOW = pytest.mark.slow
ENGINES = [
    ("gfn1", {}, bent),
    ("gfn2", {}, bent),
    ("gfn2", {"charge": 1}, bent),
    ("ase.calculators.emt:EMT", {}, copper),
    ("hf/sto-3g", {}, bent),
    pytest.param("hf/sto-3g", {"multiplicity": 3}, bent, marks=SLOW),
    pytest.param("pbe0/def2-svp", {}, bent, marks=SLOW),
    pytest.param("b3lyp-d3bj/6-31g*", {}, bent, marks=SLOW),
    pytest.param("r2scan-d4/sto-3g", {"charge": -1}, bent, marks=SLOW),
    pytest.param("mp2/def2-svp", {}, bent, marks=SLOW),
    pytest.param("mp2/sto-3g", {"charge": 1}, bent, marks=SLOW),
    pytest.param("hf-d3bj/sto-3g", {}, bent, marks=SLOW),
]


@pytest.mark.parametrize(("name", "settings", "structure"), ENGINES)
def test_forces_are_the_slope_of_the_energy(name, settings, structure):
    level, atoms = level_of(name, settings), structure()
    found, expected = level.label(atoms)["forces"][1], slopes(level, atoms)
    check(found, expected)
    with pytest.raises(AssertionError):  # control
        check(found * 1.001, expected)


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("gfn1", box),
        pytest.param("gfn2", box, marks=SLOW),
        ("ase.calculators.emt:EMT", copper),
    ],
)
def test_stress_is_the_slope_of_the_energy(name, structure):
    level, atoms = level_of(name), structure()
    found, expected = level.label(atoms)["stress"], strain_slopes(level, atoms)
    check(found, expected)
    with pytest.raises(AssertionError):  # control: the sign
        check(-found, expected)
    with pytest.raises(AssertionError):  # control: the order of the components
        check(found[[0, 1, 2, 5, 4, 3]], expected)


@pytest.mark.slow
def test_analytic_hessians_are_those_by_differences(monkeypatch):
    pytest.importorskip("pyscf")
    monkeypatch.setattr("qiff.labelling.sampling._STEP", 1e-3)
    from qiff.labelling.engines.pyscf import Molecular
    from qiff.labelling.sampling import hessian_by_differences

    field, atoms = Molecular("hf", "sto-3g"), bent()
    found, expected = field.hessian(atoms), hessian_by_differences(atoms, field)
    check(found, expected)
    with pytest.raises(AssertionError):  # control
        check(found * 1.001, expected)


# --- other programs and published numbers -------------------------------------------------------


@pytest.mark.parametrize(("name", "method"), [("gfn1", "GFN1-xTB"), ("gfn2", "GFN2-xTB")])
def test_tight_binding_is_that_of_its_own_interface(name, method):
    level = level_of(name, {"accuracy": 1.0})
    ours = box()
    theirs = level_of("tblite.ase:TBLite", {"method": method, "verbosity": 0})
    for atoms in (bent(), ours):
        one, other = level.label(atoms), theirs.label(atoms)
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_allclose(one[key], other[key], atol=1e-6)


def test_gfn2_water_is_the_number_in_the_documentation_of_tblite():
    found = level_of("gfn2").label(ase.build.molecule("H2O"))
    assert found["energy"] == pytest.approx(-137.96777625229421, abs=1e-5)


def test_hydrogen_is_the_number_of_szabo_and_ostlund():
    """H2 at 1.4 a0: -1.1167 Hartree with STO-3G (Modern Quantum Chemistry, Sec. 3.5.2)."""
    atoms = ase.Atoms("H2", [[0, 0, 0], [0, 0, 1.4 * ase.units.Bohr]])
    found = level_of("hf/sto-3g").label(atoms)
    assert found["energy"] / ase.units.Hartree == pytest.approx(-1.1167, abs=5e-5)


@pytest.mark.slow
def test_functionals_are_those_of_a_call_by_hand():
    pytest.importorskip("pyscf")
    from pyscf import dft, gto

    atoms = ase.Atoms("CH3", [[0, 0, 0], [1.08, 0, 0.1], [-0.54, 0.93, 0], [-0.54, -0.93, 0]])
    geometry = list(zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True))
    molecule = gto.M(atom=geometry, basis="6-31g*", spin=1, verbose=0)
    by_hand = dft.UKS(molecule, xc="b3lyp-d3bj").run(conv_tol=1e-11)
    by_hand.grids.level = 3
    gradient = by_hand.nuc_grad_method().kernel()
    found = level_of("b3lyp-d3bj/6-31g*").label(atoms)
    assert found["energy"] == pytest.approx(by_hand.e_tot * ase.units.Hartree, abs=1e-6)
    # the call by hand has no response of the integration grid
    expected = -gradient * ase.units.Hartree / ase.units.Bohr
    np.testing.assert_allclose(found["forces"], expected, atol=2e-3)
    plain = level_of("b3lyp/6-31g*").label(atoms)["energy"]
    assert found["energy"] < plain - 1e-3  # control: the dispersion correction counts


@pytest.mark.slow
def test_heavy_elements_have_effective_core_potentials():
    """HI: bond length within 0.03 Å of experiment (1.609 Å), which needs the right electrons."""
    from qiff.labelling.sampling import relax

    level = level_of("pbe0/def2-svp")
    found = relax(ase.Atoms("HI", [[0, 0, 0], [0, 0, 1.7]]), level.label, 1e-3)
    assert found.get_distance(0, 1) == pytest.approx(1.609, abs=0.03)


# --- charge and spin ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "given", "expected"),
    [
        ({}, {}, (0, 0)),
        ({"charge": 1}, {}, (1, 1)),
        ({"charge": np.int64(-1)}, {}, (-1, 1)),
        ({"multiplicity": 3.0}, {}, (0, 2)),
        ({"charge": 1}, {"charge": 0}, (0, 0)),
        ({}, {"charge": 1, "multiplicity": 4}, (1, 3)),
    ],
)
def test_charge_and_spin_are_given_or_those_of_the_structure(info, given, expected):
    atoms = bent()
    atoms.info |= info
    assert electrons(atoms, **given) == expected


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"charge": 0.5}, "`charge` of a structure must be a whole number, but is 0.5"),
        ({"charge": "x"}, "`charge` of a structure must be a whole number, but is 'x'"),
        ({"charge": np.nan}, "`charge` of a structure must be a whole number"),
        ({"charge": 10}, "`charge` 10 leaves 0 electrons"),
        ({"multiplicity": 2}, r"does not fit 10 electrons \(charge 0\); it may be 1, 3, 5\."),
        ({"multiplicity": 0}, "`multiplicity` 0 does not fit"),
    ],
)
def test_what_does_not_fit_the_electrons_is_an_error(info, message):
    atoms = bent()
    atoms.info |= info
    with pytest.raises(InputError, match=message):
        electrons(atoms)


def test_charge_and_spin_reach_the_programs():
    singlet = ase.build.molecule("O2")
    singlet.set_initial_magnetic_moments(None)
    triplet = singlet.copy()
    triplet.info["multiplicity"] = 3
    energy = lambda name, atoms, **settings: level_of(name, settings).label(atoms)["energy"]
    assert energy("hf/sto-3g", triplet) < energy("hf/sto-3g", singlet) - 0.5  # as in nature
    assert abs(energy("gfn2", triplet) - energy("gfn2", singlet)) > 0.05
    for name in ("gfn2", "hf/sto-3g"):
        water = bent()
        ionised = energy(name, water, charge=1)
        assert 8 < ionised - energy(name, water) < 20  # eV; 12.6 by experiment
        water.info["charge"] = 1
        assert energy(name, water) == pytest.approx(ionised, abs=1e-7)


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [("[NH4+]", (1, 0)), ("CC(=O)[O-]", (-1, 0)), ("[CH3]", (0, 1)), ("[O][O]", (0, 2))],
)
def test_ions_and_radicals_from_smiles_know_their_electrons(smiles, expected):
    pytest.importorskip("rdkit")
    (atoms,) = read(Source(f"smiles:{smiles}"))
    assert electrons(atoms) == expected


# --- names and settings ---------------------------------------------------------------------------

EMT = "ase.calculators.emt:EMT"
MISTAKES: list[tuple[str, dict, str]] = [
    ("gfn3", {}, r"Level `gfn3` is not known; known: gfn1 or gfn2 \(tblite\); METHOD/BASIS"),
    ("", {}, "Level `` is not known; known: gfn1"),
    ("pbe0", {}, "Level `pbe0` is not known"),
    ("pbe0/", {}, "Level `pbe0/` is not known"),
    ("ase:", {}, "Level `ase:` is not known"),
    ("pbee0/sto-3g", {}, "Functional `pbee0` is not known; did you mean `pbe0`"),
    ("b3lyp-d5/sto-3g", {}, "Functional `b3lyp-d5` is not known; did you mean"),
    ("pbe0/def2-svpp", {}, "Basis set `def2svpp` is not known; did you mean `def2svp`"),
    ("m06-2x-d4/sto-3g", {}, "correction d4 is not known for m06-2x; known: d3bj"),
    ("b3lyp-d3xx/sto-3g", {}, "correction d3xx is not known for b3lyp"),
    ("wb97x-d/sto-3g", {}, "Method `wb97x-d`: .* not supported"),
    ("mp2-d4/sto-3g", {}, "MP2 takes no dispersion correction"),
    ("hf/sto-3g", {"grid": 12}, "`grid` must be 0 to 9, but is 12"),
    ("gfn2", {"chrage": 1}, "key `chrage` is not known; did you mean `charge`"),
    ("gfn2", {"charge": "one"}, "`charge` must be int or None, but is 'one'"),
    ("gfn2", {"accuracy": 0}, "`accuracy` must be positive"),
    (EMT + "T", {}, "class `EMTT` is not known; did you mean `EMT`"),
    ("ase.calculators.emtt:EMT", {}, "the module is not found: No module named"),
    (EMT, {"directory": 1, "restart": 2}, "cannot be built with"),
    (EMT, {"of": object()}, "settings must be such as TOML has"),
    ("ase.build:molecule", {"name": "H2O"}, "is no calculator of ASE, but"),
]


@pytest.mark.parametrize(("name", "settings", "message"), MISTAKES)
def test_a_mistake_in_a_level_is_one_line_that_says_what_is_known(name, settings, message):
    with pytest.raises(InputError, match=message) as error:
        level_of(name, settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "structure", "message"),
    [
        ("hf/sto-3g", box, "is for molecules, and this is a periodic cell"),
        ("hf/6-31g*", lambda: ase.Atoms("UH"), "basis set 6-31g.* has no U; choose another"),
        ("gfn2", lambda: ase.Atoms("UH"), "no parameters for elements beyond radon"),
        ("gfn2", lambda: ase.Atoms("H2", cell=[9, 9, 9], pbc=[1, 1, 0]), "in three directions"),
    ],
)
def test_a_structure_that_a_level_cannot_describe_is_refused(name, structure, message):
    level = level_of(name)
    for function in (level.check, level.label):
        with pytest.raises(InputError, match=message):
            function(structure())
    level.check(bent())


@pytest.mark.parametrize(
    ("package", "name", "extra"),
    [("tblite", "gfn2", "xtb"), ("pyscf", "hf/sto-3g", "label")],
)
def test_an_absent_program_names_its_extra(package, name, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'qiff\[{extra}\]'"):
        find_level(name)


@pytest.mark.parametrize("name", ["gfn2", "hf/sto-3g", EMT])
def test_levels_can_be_sent_to_other_processes_and_say_what_they_are(name):
    level = level_of(name)
    atoms = ase.Atoms("H2", [[0, 0, 0], [0, 0, 0.8]])
    expected = level.label(atoms)
    sent = pickle.loads(pickle.dumps(level))
    assert len(pickle.dumps(level)) < 1000
    assert sent.label(atoms)["energy"] == pytest.approx(expected["energy"], abs=1e-9)
    assert re.fullmatch(r"(tblite|PySCF|ase) \d+\.\d+.*", sent.provenance()["program"])
    assert sent.provenance() == level.provenance()


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("gfn2", {"max_iterations": 2}, "SCF not converged in 2 cycles"),
        ("hf/sto-3g", {"max_iterations": 1}, "the mean field did not converge at O +0"),
    ],
)
def test_a_mean_field_that_does_not_converge_is_a_label_error(name, settings, message):
    with pytest.raises(LabelError, match=message):
        level_of(name, settings).label(bent())
    assert level_of(name).label(bent())  # control


class Faulty(Calculator):
    """A calculator that has no stress and fails as it is told to."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, fault: str = "", **kwargs):
        super().__init__(**kwargs)
        self.fault = fault

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.fault == "raise":
            raise ArithmeticError("by request")
        energy = np.nan if self.fault == "nan" else 1.0
        n = len(self.atoms)  # pyright: ignore[reportArgumentType]
        self.results = {"energy": energy, "free_energy": 2.0 * energy, "forces": np.zeros((n, 3))}


class Writing(FileIOCalculator):
    """A calculator that writes a file, and gives the number of files in its folder as energy."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        Calculator.calculate(self, atoms, properties, system_changes)
        folder = Path(self.directory)
        (folder / "input").write_text("")
        n = len(self.atoms)  # pyright: ignore[reportArgumentType]
        self.results = {"energy": float(len(list(folder.iterdir()))), "forces": np.zeros((n, 3))}


def here(calculator: type) -> str:
    return f"{__name__}:{calculator.__name__}"


@pytest.mark.parametrize(
    ("fault", "message"),
    [("raise", "ArithmeticError: by request"), ("nan", "`energy` is not finite")],
)
def test_a_calculator_that_fails_is_a_label_error(fault, message):
    with pytest.raises(LabelError, match=message):
        find_level(here(Faulty), {"fault": fault}).label(bent())


class Fragile(Faulty):
    """A calculator that never recovers from a structure of one atom."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if len(atoms) == 1:  # pyright: ignore[reportArgumentType]
            self.fault = "raise"
            super().calculate(atoms, properties, system_changes)


def test_a_calculator_is_built_anew_after_a_failure():
    level = find_level(here(Fragile))
    assert level.label(bent())
    with pytest.raises(LabelError):
        level.label(ase.Atoms("H"))
    assert level.label(box())


@pytest.mark.parametrize("name", ["gfn2", "hf/sto-3g", EMT])
def test_positions_that_are_not_finite_are_a_label_error(name):
    level, broken = level_of(name), copper()
    if name != EMT:
        broken = bent()
    assert level.label(broken)
    broken.positions[1] = np.nan
    with pytest.raises(LabelError, match="the positions are not finite"):
        level.label(broken)


def test_energies_are_those_that_the_forces_belong_to_and_stress_may_be_absent():
    found = find_level(here(Faulty)).label(box())
    assert found["energy"] == 2.0
    assert found.keys() == {"energy", "forces"}


def test_calculators_write_in_a_folder_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    level = find_level(here(Writing), {"command": "true"})
    assert level.label(bent())["energy"] == 1.0
    assert list(tmp_path.iterdir()) == []


def test_constraints_do_not_change_labels():
    from ase.constraints import FixAtoms

    level, atoms = find_level(EMT), copper()
    free = level.label(atoms)["forces"]
    atoms.set_constraint(FixAtoms([0]))
    np.testing.assert_array_equal(level.label(atoms)["forces"], free)
    assert np.abs(free[0]).max() > 0.01  # control


def test_a_level_of_ones_own_is_a_function():
    label: Callable = lambda atoms: {"energy": 1.0}
    level = replace(find_level(EMT), label=label, settings={})
    assert level.provenance().keys() == {"level", "program"}
