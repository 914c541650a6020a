"""Files that users bring: each is read right, or refused in one line. See docs/files.md."""

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ase
import ase.db
import ase.io
import ase.units
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from qiff import InputError, Source, read
from qiff.atoms.properties import labels
from qiff.cli import main
from qiff.report.data import closest_pair, data_lines

from .outputs import aims, outcar

PAGE = (Path(__file__).parent.parent / "docs" / "files.md").read_text()
ENERGY, HARTREE, BOHR = -12.5, ase.units.Hartree, ase.units.Bohr
FORCES = np.array([[0.1, -0.2, 0.3], [0.0, 0.25, -0.1], [-0.1, -0.05, -0.2]])
VIRIAL = np.array([[1.0, 0.1, 0.2], [0.1, 2.0, 0.3], [0.2, 0.3, 3.0]])
SIX = (1.0, 2.0, 3.0, 0.3, 0.2, 0.1)
STRESS = -np.array(SIX) / 1000
UNITS: dict[str, Any] = {"energy_unit": "eV", "length_unit": "Angstrom"}


def water(cell: bool = False, **info: Any) -> ase.Atoms:
    atoms = ase.Atoms("OHH", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], info=info)
    if cell:
        atoms.cell, atoms.pbc = [10, 10, 10], True
    return atoms


def calculated(cell: bool = False, **more: Any) -> ase.Atoms:
    """Labels where every recent ASE puts them: in a calculator."""
    atoms = water(cell)
    atoms.calc = SinglePointCalculator(atoms, energy=ENERGY, forces=FORCES, **more)
    return atoms


def named(cell: bool = False, forces: str = "REF_forces", **info: Any) -> ase.Atoms:
    atoms = water(cell, **info)
    atoms.arrays[forces] = FORCES.copy()
    return atoms


def arrays(**more: Any) -> dict[str, Any]:
    return {
        "R": np.array([water().positions] * 4),
        "E": np.full(4, ENERGY),
        "F": np.array([FORCES] * 4),
        "z": water().numbers,
    } | more


def padded(rows: np.ndarray) -> np.ndarray:
    """With an atom more, at zero."""
    return np.concatenate([rows, np.zeros((4, 1, 3))], 1)


def saved(path: Path, **content: Any) -> Path:
    np.savez(path, **{name: value for name, value in content.items() if value is not None})
    return path


def written(path: Path, atoms: Any, **options: Any) -> Path:
    ase.io.write(path, atoms, **options)
    return path


def text(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


ROWS = "O 0 0 0 0.1 -0.2 0.3\nH 0.96 0 0 0.0 0.25 -0.1\nH -0.24 0.93 0 -0.1 -0.05 -0.2\n"
COLUMNS = "Properties=species:S:1:pos:R:3:forces:R:3"
BOX = 'Lattice="10 0 0 0 10 0 0 0 10" pbc="T T T"'


def database(path: Path, atoms: ase.Atoms, **row: Any) -> Path:
    ase.db.connect(path).write(atoms, **row)
    return path


def deepmd(path: Path, symbols: str = "O H", **more: Any) -> Path:
    (path / "set.000").mkdir(parents=True)
    (path / "set.001").mkdir()
    (path / "type.raw").write_text("0\n1\n1\n")
    if symbols:
        (path / "type_map.raw").write_text("\n".join(symbols.split()) + "\n")
    content = {"coord": arrays()["R"].reshape(4, 9), "force": arrays()["F"].reshape(4, 9)}
    content |= {"energy": arrays()["E"], **more}
    for number, rows in enumerate((slice(0, 3), slice(3, 4))):
        for name, values in content.items():
            np.save(path / f"set.00{number}" / f"{name}.npy", np.float32(values[rows]))
    return path


def flat(folder: Path, name: str) -> Path:
    """The folder with an array whose rows are one."""
    np.save(folder / name, np.load(folder / name).ravel())
    return folder


def orca(path: Path) -> Path:
    rows = "\n".join(f"  {a.symbol}  {a.x:.6f}  {a.y:.6f}  {a.z:.6f}" for a in water())
    gradient = "\n".join(
        f"   {i + 1}   {a.symbol}   :  {x:.9f}  {y:.9f}  {z:.9f}"
        for i, (a, (x, y, z)) in enumerate(zip(water(), -FORCES * BOHR / HARTREE, strict=True))
    )
    return text(
        path,
        "                                 * O   R   C   A *\n\n"
        f"---\nCARTESIAN COORDINATES (ANGSTROEM)\n---\n{rows}\n\n"
        "Number of atoms                             ...      3\n"
        f"FINAL SINGLE POINT ENERGY     {ENERGY / HARTREE:.12f}\n"
        f"------------------\nCARTESIAN GRADIENT\n------------------\n\n{gradient}\n\n"
        "                             ****ORCA TERMINATED NORMALLY****\n",
    )


def gaussian(path: Path) -> Path:
    line = "-" * 69
    rows = "".join(f" {i + 1} {a.number} 0 {a.x} {a.y} {a.z}\n" for i, a in enumerate(water()))
    forces = "".join(
        f" {i + 1} {a.number} {x:.9f} {y:.9f} {z:.9f}\n"
        for i, (a, (x, y, z)) in enumerate(zip(water(), FORCES * BOHR / HARTREE, strict=True))
    )
    return text(
        path,
        f" Entering Gaussian System, Link 0=g16\n Input orientation:\n {line}\n Center\n Number\n"
        f" {line}\n{rows} {line}\n SCF Done:  E(RB3LYP) =  {ENERGY / HARTREE:.12f}     A.U.\n"
        f" Center     Atomic                   Forces (Hartrees/Bohr)\n Number     Number\n"
        f" {line}\n{forces} {line}\n Normal termination of Gaussian 16\n",
    )


def vasprun(path: Path) -> Path:
    """With a stress of -1 kbar along x, which VASP gives with the opposite sign, and a fixed O."""
    vectors = lambda rows: "".join(f"<v>{x} {y} {z}</v>" for x, y, z in rows)
    structure = (
        f'<crystal><varray name="basis">{vectors(10 * np.eye(3))}</varray></crystal>'
        f'<varray name="positions">{vectors(water().positions / 10)}</varray>'
    )
    energies = f'<i name="e_fr_energy">{ENERGY}</i><i name="e_0_energy">{ENERGY}</i>'
    atoms = "".join(f"<rc><c>{a.symbol}</c><c>1</c></rc>" for a in water())
    stress = np.diag([1.0, 0, 0])
    return text(
        path,
        '<?xml version="1.0"?><modeling><kpoints><varray name="kpointlist"><v>0 0 0</v></varray>'
        '<varray name="weights"><v>1</v></varray></kpoints><atominfo><array name="atoms"><set>'
        f'{atoms}</set></array></atominfo><structure name="initialpos">{structure}'
        '<varray name="selective"><v>F F F</v><v>T T T</v><v>T T T</v></varray></structure>'
        f"<calculation><scstep><energy>{energies}</energy></scstep><structure>{structure}"
        f'</structure><varray name="forces">{vectors(FORCES)}</varray>'
        f'<varray name="stress">{vectors(stress)}</varray><energy>{energies}</energy>'
        "</calculation></modeling>",
    )


def case(name: str, write: Any, *, stress: Any = None, n: int = 1, **options: Any) -> Any:
    """A file that is read with the energy and forces above, and perhaps a stress."""
    index = options.pop("index", "")
    wanted = {"stress": stress, "n": n, "index": index}
    wanted |= {"forces": options.pop("forces", FORCES), "atol": options.pop("stress_atol", 1e-9)}
    return pytest.param(write, options, SimpleNamespace(**wanted), id=name)


def ref(cell: bool = False, **info: Any) -> ase.Atoms:
    return named(cell, REF_energy=ENERGY, **info)


READ = [
    case("REF_ names (MACE)", lambda p: written(p / "a.xyz", ref(head="pbe", config_weight=2.0))),
    case("REF_stress 3x3", lambda p: written(p / "a.xyz", ref(True, REF_stress=-VIRIAL / 1000)),
         stress=STRESS),
    case("REF_stress 9", lambda p: written(p / "a.xyz",
         ref(True, REF_stress=-VIRIAL.ravel() / 1000)), stress=STRESS),
    case("REF_stress 6", lambda p: written(p / "a.xyz", ref(True, REF_stress=STRESS)),
         stress=STRESS),
    case("REF_virials 3x3", lambda p: written(p / "a.xyz", ref(True, REF_virials=VIRIAL)),
         stress=STRESS),
    case("REF_virials 9", lambda p: written(p / "a.xyz", ref(True, REF_virials=VIRIAL.ravel())),
         stress=STRESS),
    case("virials 6", lambda p: written(p / "a.xyz", ref(True, virials=SIX)), stress=STRESS),
    case("virial 9 (QUIP)", lambda p: written(p / "a.xyz", ref(True, virial=VIRIAL)),
         stress=STRESS),
    case("virial 6 as text", lambda p: text(p / "a.xyz",
         f'3\n{BOX} {COLUMNS} energy={ENERGY} virial="1 2 3 0.3 0.2 0.1"\n{ROWS}'),
         stress=STRESS),
    case("total_energy (nequip)", lambda p: written(p / "a.xyz",
         named(forces="forces", total_energy=ENERGY))),
    case("calculator results (apax, metatrain, mlip)", lambda p: written(p / "a.xyz",
         calculated(True, stress=STRESS)), stress=STRESS),
    case("traj", lambda p: written(p / "a.traj", calculated(True, stress=STRESS)), stress=STRESS),
    case("free_energy alone", lambda p: text(p / "a.xyz",
         f"3\n{COLUMNS} free_energy={ENERGY}\n{ROWS}")),
    case("capitals", lambda p: written(p / "a.xyz", named(forces="Forces", Energy=ENERGY))),
    case("names by option", lambda p: written(p / "a.xyz",
         named(forces="dft_forces", dft_energy=ENERGY)),
         energy_key="dft_energy", forces_key="dft_forces"),
    case("energy of shape (1,)", lambda p: database(p / "a.db", named(),
         data={"REF_energy": np.array([ENERGY]), "REF_forces": FORCES})),
    case("gz", lambda p: written(p / "a.xyz.gz", calculated())),
    case("Windows line ends", lambda p: text(p / "a.xyz",
         f"3\n{COLUMNS} energy={ENERGY}\n{ROWS}".replace("\n", "\r\n"))),
    case("gz of isotopes, Windows line ends", lambda p: (p / "a.xyz.gz").write_bytes(gzip.compress(
         f"3\n{COLUMNS} energy={ENERGY}\n{ROWS}".replace("\nH", "\nD").replace("\n", "\r\n")
         .encode())) and p / "a.xyz.gz"),
    case("atomic numbers", lambda p: text(p / "a.xyz",
         f"3\n{COLUMNS} energy={ENERGY}\n{ROWS}".replace("\nO", "\n8").replace("\nH", "\n1"))),
    case("index -1", lambda p: written(p / "a.xyz", [water(), calculated()]), index="@-1"),
    case("index of a slice", lambda p: written(p / "a.xyz", [calculated()] * 7), index="@0:6:2",
         n=3),
    case("ase.db", lambda p: database(p / "a.db", calculated())),
    case("ase.db, labels in data", lambda p: database(p / "a.db", water(), REF_energy=ENERGY,
         data={"REF_forces": FORCES})),
    case("ASE json", lambda p: written(p / "a.json", calculated())),
    case("units in the header", lambda p: text(p / "a.xyz",
         f"3\n{COLUMNS} energy={ENERGY / HARTREE} energy-unit=hartree force_units=eV/Ang\n{ROWS}")),
    case("forces in Hartree/Bohr", lambda p: text(p / "a.xyz",
         f"3\n{COLUMNS} energy={ENERGY}\n{ROWS}"), forces_unit="Hartree/Bohr",
         forces=FORCES * HARTREE / BOHR),
    case("stress in GPa", lambda p: written(p / "a.xyz",
         ref(True, REF_stress=STRESS / ase.units.GPa)), stress_unit="GPa", stress=STRESS),
    case("a molecule in a box", lambda p: written(p / "a.xyz", calculated(True, stress=STRESS)),
         isolated=True),
    case("sGDML", lambda p: saved(p / "a.npz", **arrays(e_unit="eV", r_unit="Ang")), n=4),
    case("sGDML with a lattice", lambda p: saved(p / "a.npz",
         **arrays(lattice=10 * np.eye(3), stress=np.array([STRESS] * 4))), **UNITS, n=4,
         stress=STRESS),
    case("rMD17", lambda p: saved(p / "a.npz", nuclear_charges=water().numbers,
         coords=arrays()["R"], energies=arrays()["E"], forces=arrays()["F"]), **UNITS, n=4),
    case("numbers of each frame", lambda p: saved(p / "a.npz",
         **arrays(z=np.array([water().numbers] * 4))), **UNITS, n=4),
    case("mixed sizes with padding", lambda p: saved(p / "a.npz",
         z=np.array([[8, 1, 1, 0]] * 4), E=np.full(4, ENERGY),
         R=padded(arrays()["R"]),
         F=padded(arrays()["F"])), **UNITS, n=4),
    case("pos, atomic_numbers", lambda p: saved(p / "a.npz", pos=arrays()["R"],
         atomic_numbers=water().numbers, energy=arrays()["E"], force=arrays()["F"]), **UNITS, n=4),
    case("atomic numbers of shape (n, 1)", lambda p: saved(p / "a.npz",
         **arrays(z=water().numbers[:, None])), **UNITS, n=4),
    case("float32", lambda p: saved(p / "a.npz",
         **{k: np.asarray(v, "f4") if k != "z" else v for k, v in arrays().items()}), **UNITS, n=4),
    case("big-endian", lambda p: saved(p / "a.npz",
         **{k: v.astype(v.dtype.newbyteorder(">")) for k, v in arrays().items()}), **UNITS, n=4),
    case("energies of shape (n, 1)", lambda p: saved(p / "a.npz",
         **arrays(E=np.full((4, 1), ENERGY))), **UNITS, n=4),
    case("one frame without an axis for it", lambda p: saved(p / "a.npz", R=water().positions,
         E=ENERGY, F=FORCES, z=water().numbers), **UNITS),
    case("virials in arrays", lambda p: saved(p / "a.npz",
         **arrays(virials=np.array([VIRIAL] * 4), cell=np.array([10 * np.eye(3)] * 4))), **UNITS,
         n=4, stress=STRESS),
    case("objects that are not needed", lambda p: saved(p / "a.npz",
         **arrays(note=np.array({"a": 1}, object))), **UNITS, n=4),
    case("DeePMD", lambda p: deepmd(p / "system", box=np.array([10 * np.eye(3).ravel()] * 4),
         virial=np.array([VIRIAL.ravel()] * 4)), n=4, stress=STRESS),
    case("DeePMD, elements by option", lambda p: deepmd(p / "system", ""), n=4,
         elements=("O", "H", "H")),
    case("DeePMD, mixed types", lambda p: deepmd(p / "system",
         real_atom_types=np.array([[0, 1, 1]] * 4)), n=4),
    case("ORCA", lambda p: orca(p / "orca.out")),
    case("Gaussian", lambda p: gaussian(p / "water.log")),
    case("CP2K, energy by option", lambda p: text(p / "water-pos-1.xyz",
         "     3\n i =        1, time =        0.500, E =        "
         f"{ENERGY / HARTREE:.12f}\n{ROWS.replace(' 0.1 -0.2 0.3', '')}"
         .replace(" 0.0 0.25 -0.1", "").replace(" -0.1 -0.05 -0.2", "")),
         energy_key="E", energy_unit="Hartree", forces=None),
    case("VASP", lambda p: vasprun(p / "vasprun.xml"),
         stress=[-0.1 * ase.units.GPa, 0, 0, 0, 0, 0]),
    case("VASP OUTCAR", lambda p: text(p / "OUTCAR",
         outcar(water(True), ENERGY, FORCES, STRESS, ENERGY - 0.02)), stress=STRESS,
         stress_atol=5e-9),
    case("VASP OUTCAR, free energy by option", lambda p: text(p / "OUTCAR",
         outcar(water(True), ENERGY + 0.02, FORCES, STRESS, ENERGY)), stress=STRESS,
         stress_atol=5e-9, energy_key="free_energy"),
    case("FHI-aims", lambda p: text(p / "aims.out", aims(water(), ENERGY, FORCES, None))),
    case("FHI-aims, periodic", lambda p: text(p / "aims.out",
         aims(water(True), ENERGY, FORCES, STRESS)), stress=STRESS, stress_atol=5e-9),
]  # fmt: skip


@pytest.mark.parametrize(("write", "options", "wanted"), READ)
def test_a_file_is_read_right(tmp_path, write, options, wanted):
    frames = read(Source(f"{write(tmp_path)}{wanted.index}", **options), need_energy=True)
    assert len(frames) == wanted.n
    for atoms in frames:
        assert atoms.get_chemical_formula() == "H2O"
        np.testing.assert_allclose(atoms.positions, water().positions, atol=1e-6)
        found = labels(atoms)
        assert found["energy"] == pytest.approx(ENERGY, rel=1e-6)
        assert ("forces" in found) == (wanted.forces is not None)
        if wanted.forces is not None:
            np.testing.assert_allclose(found["forces"], wanted.forces, atol=2e-7)
        assert ("stress" in found) == (wanted.stress is not None)
        if wanted.stress is not None:
            np.testing.assert_allclose(found["stress"], wanted.stress, atol=wanted.atol)


def test_control_other_labels_are_seen(tmp_path):
    """The same file with another energy is not read as the one above."""
    atoms = ref()
    atoms.info["REF_energy"] += 1e-4
    (found,) = read(Source(str(written(tmp_path / "a.xyz", atoms))))
    assert labels(found)["energy"] != pytest.approx(ENERGY, rel=1e-6)


SKEW = np.array([[10.0, 0, 0], [1.0, 10, 0], [0, 0, 10]])

REFUSED = [
    (lambda p: text(p / "a.xyz", "2\n\nO 0 0 0\nH1 0 0 1\n"), {},
     "frame 0: line 4: must begin with a chemical symbol, an isotope .* but is `H1 0 0 1`"),
    (lambda p: text(p / "a.xyz", "2\n\n119 0 0 0\n1 0 0 1\n"), {}, "line 3: must begin with"),
    (lambda p: text(p / "a.xyz", f"3\n\n{ROWS}3\n\nO 0 0 0\n"), {},
     "frame 1: has 1 atoms, but announces 3; is the file cut short"),
    (lambda p: text(p / "a.xyz", f"2\n\n{ROWS}"), {}, "line 5 must be a number of atoms"),
    (lambda p: text(p / "z.xyz", "0\n\n"), {}, "frame 0: has no atoms; remove the frame"),
    (lambda p: text(p / "a.xyz", f"3\n{COLUMNS} energy=1 energy_unit=furlong\n{ROWS}"), {},
     "energy unit `furlong` is not known; known: eV"),
    (lambda p: written(p / "a.xyz", ref()), {"forces_unit": "Hartree"},
     "Forces unit `Hartree` is not known; known: eV/Angstrom, eV/Bohr"),
    (lambda p: written(p / "a.xyz", ref()), {"index": "@7"}, "there are 1 frames, from 0 on"),
    (lambda p: written(p / "a.xyz", ref()), {"index": "@5:9"}, "chooses none of 1 frames"),
    (lambda p: written(p / "a.xyz", ref()), {"index": "@last"}, "what follows @ must be a number"),
    (lambda p: written(p / "a.xyz", named(dft_energy=1.0)), {},
     "keys found: REF_forces, dft_energy; `dft_energy` may be it. Name the right one as"),
    (lambda p: written(p / "a.xyz", [ref(), named()]), {"strict": True},
     "frame 1: has no energy label"),
    (lambda p: text(p / "a.db", "no database"), {}, "is no database of ASE"),
    (lambda p: saved(p / "a.npz", **arrays(lattice=SKEW)), UNITS,
     "`lattice` has cell vectors as rows or as columns"),
    (lambda p: saved(p / "a.npz", **arrays(cell=np.eye(2))), UNITS,
     r"`cell` must have shape \(3, 3\) or \(4, 3, 3\)"),
    (lambda p: saved(p / "a.npz", **arrays(cell=SKEW, pbc=np.ones(2))), UNITS, "pbc must have sha"),
    (lambda p: saved(p / "a.npz", **arrays(F=np.array([{}], object))), UNITS,
     "array of forces `F` is corrupt, or holds pickled objects; write it as"),
    (lambda p: saved(p / "a.npz", **arrays(z=np.array([[8, 1, 1]] * 3))), UNITS,
     "atomic numbers must have 4 rows"),
    (lambda p: deepmd(p / "system", "O"), {}, "must name the elements of 2 types, but names 1"),
    (lambda p: deepmd(p / "system", "O Hx"), {}, "`type_map.raw` names `Hx`, which is no element"),
    (lambda p: text(deepmd(p / "system") / "type.raw", "O H H\n").parent, {},
     "`type.raw` must hold one whole number an atom"),
    (lambda p: flat(deepmd(p / "system", fparam=np.ones((4, 2))), "set.001/fparam.npy"), {},
     r"`fparam.npy` must have rows of one shape in all `set.*`, but has \(3, 2\), \(2,\)"),
    (lambda p: text(p / "a.xyz", f"{'3' * 99}\n{COLUMNS} energy=1\n{ROWS}"), {},
     "frame 0: has 3 atoms, but announces 3333"),
]  # fmt: skip


@pytest.mark.parametrize(("write", "options", "message"), REFUSED)
def test_a_file_is_refused_in_one_line(tmp_path, write, options, message):
    path, options = write(tmp_path), dict(options)
    index = options.pop("index", "")
    with pytest.raises(InputError, match=message) as error:
        read(Source(f"{path}{index}", **options), need_energy=True)
    assert "\n" not in str(error.value)


def test_every_variant_is_in_the_table_of_the_page():
    for param in READ:
        assert f"| {param.id} |" in PAGE, param.id


# --- isotopes, cells, other columns -----------------------------------------------------------


@pytest.mark.parametrize(("name", "symbol", "mass"), [
    ("D", "H", 2.0141), ("T", "H", 3.0160), ("2H", "H", 2.0141), ("13C", "C", 13.0034),
    ("18O", "O", 17.9992), ("h", "H", 1.008), ("CL", "Cl", 35.45),
])  # fmt: skip
def test_isotopes_have_their_mass(tmp_path, name, symbol, mass):
    path = text(tmp_path / "a.xyz", f"2\n\nO 0 0 0\n{name} 0 0 1.2\n")
    (atoms,) = read(Source(str(path)))
    assert atoms.symbols[1] == symbol
    np.testing.assert_allclose(atoms.get_masses(), [15.999, mass], rtol=1e-4)
    rows = np.array([atoms.positions] * 2)
    first, _ = read(Source(str(saved(tmp_path / "a.npz", R=rows)), **UNITS, elements=("O", name)))
    np.testing.assert_allclose(first.get_masses(), atoms.get_masses())


def test_one_atom_and_mixed_sizes(tmp_path):
    one = ase.Atoms("O", info={"REF_energy": -3.0, "config_type": "IsolatedAtom"})
    one.arrays["REF_forces"] = np.zeros((1, 3))
    first, second = read(Source(str(written(tmp_path / "a.xyz", [one, ref()]))), need_forces=True)
    assert labels(first)["forces"].shape == (1, 3)
    assert labels(second)["energy"] == ENERGY


def test_a_molecule_across_the_boundary_of_its_box_is_made_whole(tmp_path):
    atoms = calculated(True)
    atoms.positions -= [0.5, 0.5, 0]
    distances = atoms.get_all_distances()
    atoms.wrap()
    assert not np.allclose(atoms.get_all_distances(), distances)  # control: it is cut
    atoms.calc = None
    path = str(written(tmp_path / "a.xyz", atoms))
    (found,) = read(Source(path, isolated=True))
    assert not found.pbc.any()
    assert found.cell.rank == 0
    np.testing.assert_allclose(found.get_all_distances(), distances, atol=1e-6)
    assert read(Source(path))[0].pbc.all()


def test_other_columns_results_and_constraints_are_kept(tmp_path):
    atoms = calculated(dipole=[0.1, 0, 0], charges=[-0.8, 0.4, 0.4])
    atoms.info |= {"head": "pbe", "config_energy_weight": 0.5}
    atoms.set_momenta(np.full((3, 3), 0.1))
    atoms.set_constraint(FixAtoms([0]))
    path = str(written(tmp_path / "a.xyz", atoms))
    assert main(["data", "convert", path, str(tmp_path / "b.xyz")]) == 0
    for file in (path, str(tmp_path / "b.xyz")):
        (found,) = read(Source(file))
        assert found.info["head"] == "pbe"
        np.testing.assert_allclose(found.info["dipole"], [0.1, 0, 0])
        np.testing.assert_allclose(found.arrays["charges"], [-0.8, 0.4, 0.4])
        np.testing.assert_allclose(found.get_momenta(), 0.1)
        np.testing.assert_allclose(labels(found)["forces"], FORCES)
        assert [list(c.get_indices()) for c in found.constraints] == [[0]]


# --- what is said about a file ----------------------------------------------------------------


def test_info_names_what_was_found_and_what_was_not(tmp_path):
    atoms = named(forces="force", TotEnergy=-2078.0, head="pbe", config_weight=2.0)
    one = ase.Atoms("O", info={"REF_energy": -3.0, "config_type": "IsolatedAtom"})
    lines = data_lines(Source(str(written(tmp_path / "a.xyz", [atoms, atoms, one]))))
    assert lines["frames"] == 3
    assert lines["could be read"] == (
        "`TotEnergy` (--energy-key TotEnergy) × 2, `force` (--forces-key force) × 2"
    )
    assert lines["energy"].endswith("(1 frames), from `REF_energy` × 1")
    assert lines["forces"] == "no label"
    assert lines["weights"] == "`config_weight` × 2"
    assert lines["kept"] == "`config_type` × 1, `head` × 2"
    assert lines["isolated atoms"].startswith("O: ")
    assert lines["equal frames"] == "1 are copies of others"
    assert "implausible" not in lines


def test_info_names_what_is_not_used_and_arrays_that_are_not_read(tmp_path):
    both = ref(REF_virials=VIRIAL)
    both.calc = SinglePointCalculator(both, energy=-1.0)
    lines = data_lines(Source(str(written(tmp_path / "a.xyz", both))))
    assert lines["not used"] == "`REF_virials` (no cell) × 1, `energy` (`REF_energy` is read) × 1"
    path = saved(tmp_path / "a.npz", **arrays(theory=np.array("PBE")))
    lines = data_lines(Source(str(path), **UNITS))
    assert lines["not read"] == "`theory`"
    assert lines["energy"].endswith("from `E` × 4")


@pytest.mark.parametrize(("energy", "factor", "hint"), [
    (-76.4, 1.0, "in Hartree they would be those of all electrons"),
    (-76.4 * 627.5, 1.0, "in kcal/mol they would be"),
    (-76.4 * HARTREE, 100.0, "are large; if they are in another unit, set --forces-unit"),
    (-76.4 * HARTREE, 1.0, ""),
    (-14.2, 1.0, ""),
])  # fmt: skip
def test_info_names_units_that_are_not_plausible(tmp_path, energy, factor, hint):
    atoms = water(REF_energy=energy)
    atoms.arrays["REF_forces"] = factor * FORCES
    lines = data_lines(Source(str(written(tmp_path / "a.xyz", atoms))))
    assert hint in lines["implausible"] if hint else "implausible" not in lines


def test_info_of_many_atoms_takes_time_in_proportion():
    """12,000 atoms, whose distances alone would take a gigabyte."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(0.0, 23)] * 3), -1).reshape(-1, 3)[:12000] * 3
    atoms = ase.Atoms("H12000", grid + rng.uniform(0, 0.5, grid.shape))
    atoms.positions[7] = atoms.positions[6] + [0.7, 0, 0]
    assert closest_pair(atoms) == pytest.approx(0.7)
    atoms.cell, atoms.pbc = [69, 69, 69], True
    assert closest_pair(atoms) == pytest.approx(0.7)
    assert closest_pair(ase.Atoms("H")) == np.inf
    assert closest_pair(ase.Atoms("H", cell=[3, 4, 5], pbc=True)) == pytest.approx(3)


def test_convert_writes_what_was_read_in_ev_and_angstrom(tmp_path, capsys):
    path = saved(tmp_path / "a.npz", **arrays(e_unit="kcal/mol", r_unit="Bohr"))
    out = tmp_path / "out.xyz"
    assert main(["data", "convert", str(path), str(out)]) == 0
    assert "4 frames with labels: energy (eV) of 4, forces (eV/Å) of 4" in capsys.readouterr().out
    before, after = read(Source(str(path))), ase.io.read(out, ":")
    for one, other in zip(before, after, strict=True):
        assert isinstance(other, ase.Atoms)
        assert other.get_potential_energy() == pytest.approx(labels(one)["energy"])
        np.testing.assert_allclose(other.positions, one.positions, atol=1e-7)
    assert main(["data", "convert", str(out), str(out)]) == 2
    assert main(["data", "convert", f"{out}@0", str(out)]) == 2
    assert "is the input as well" in capsys.readouterr().err


def test_info_of_every_variant_is_one_table(tmp_path, capsys):
    path = written(tmp_path / "a.xyz", ref())
    assert main(["data", "info", str(path)]) == 0
    shown = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert {"frames", "units", "energy", "forces", "sha256"} <= shown.keys()
    assert json.loads(shown["frames"]) == 1
