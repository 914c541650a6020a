"""i-PI: a potential energy surface that computes all beads in one call, and its input files."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Any

import ase
import numpy as np
from ase.cell import Cell
from ase.units import Bohr, Hartree
from jaxtyping import Float

from .._checks import (
    InputError,
    check_at_least,
    check_finite,
    check_known,
    check_positive,
    check_seed,
)
from .._files import atomic_write
from ..atoms.data.dataset import write
from ..atoms.graph import complete_cell
from ..model.predict import Prediction, predict
from ..training.bundled import model_file
from ..training.checkpoint import load

Answer = tuple[float, Float[np.ndarray, "n_atoms 3"], Float[np.ndarray, "3 3"], str]
"""Potential energy, forces and virial in atomic units, and a text that i-PI can record."""


class Driver:
    r"""The potential energy surface that `ffdirect` of i-PI calls, and its client
    `i-pi-py_driver`.

    i-PI has atomic units, cell vectors as columns, and the virial

    $$ W = -\frac{\partial E}{\partial\epsilon} = -V\sigma, \qquad
       W = \sum_i r_i F_i^\mathsf{T} \text{ of an isolated molecule.} $$

    Args:
        model: a model file, or the name of a bundled model.
        template: a structure file. Elements and periodic directions are those of its first
            configuration; i-PI has a cell for molecules too.
        others: what i-PI adds; ignored.

    Raises:
        InputError: the model cannot be read; when called, it cannot describe the atoms.
    """

    def __init__(self, model: str, template: str, **others: Any):
        import ase.io

        self.potential = load(model)
        self.template: Any = ase.io.read(template, index=0)

    def __call__(self, cell: Any, pos: Any) -> Any:
        """The `Answer` for a cell and positions in atomic units; for lists of them, one for each
        bead, computed in one batch."""
        if not isinstance(pos, list):
            return self([cell], [pos])[0]
        beads = [
            ase.Atoms(self.template.numbers, Bohr * x, cell=Bohr * h.T, pbc=self.template.pbc)
            for h, x in zip(cell, pos, strict=True)
        ]
        return list(map(_answer, beads, predict(self.potential, beads)))


def _answer(atoms: ase.Atoms, found: Prediction) -> Answer:
    """A prediction in atomic units."""
    forces, virial = found.forces * (Bohr / Hartree), found.virial(atoms) / Hartree
    return found.energy / Hartree, forces, virial, ""


_THERMOSTAT = """
        <thermostat mode='pile_g'>
          <tau units='femtosecond'>$thermostat_time</tau>
          <pile_lambda>0.5</pile_lambda>
        </thermostat>"""
_BAROSTAT = """
        <barostat mode='isotropic'>
          <tau units='femtosecond'>$barostat_time</tau>
          <thermostat mode='langevin'>
            <tau units='femtosecond'>$thermostat_time</tau>
          </thermostat>
        </barostat>"""
ENSEMBLES = {"nve": "", "nvt": _THERMOSTAT, "npt": _BAROSTAT + _THERMOSTAT}
"""Statistical ensembles, and what i-PI needs besides the equations of motion."""


@dataclass(frozen=True)
class PathIntegral:
    """What i-PI simulates: path-integral molecular dynamics, with one bead classical.

    Args:
        ensemble: statistical ensemble: nve (constant energy: ring-polymer dynamics), nvt (constant
            temperature) or npt (constant temperature and pressure, of periodic systems).
        temperature: K, of the ring polymers; the velocities at the start are drawn from it.
        beads: of the ring polymer of each atom.
        timestep: fs.
        steps: number of time steps.
        interval: time steps between recorded states.
        thermostat_time: fs, of the thermostat of the centroids (PILE-G).
        pressure: GPa, of npt.
        barostat_time: fs, of the barostat of npt.
        seed: of the random velocities, the thermostat and the barostat.

    Raises:
        InputError: the ensemble is not known or a number is outside its range.
    """

    ensemble: str = "nvt"
    temperature: float = 300.0
    beads: int = 8
    timestep: float = 0.25
    steps: int = 4000
    interval: int = 10
    thermostat_time: float = 100.0
    pressure: float = 0.0
    barostat_time: float = 250.0
    seed: int = 0

    def __post_init__(self):
        check_known("Statistical ensemble", self.ensemble, ENSEMBLES)
        check_positive("temperature", self.temperature)
        check_at_least("beads", self.beads, 1)
        check_positive("timestep", self.timestep)
        check_at_least("steps", self.steps, 1)
        check_at_least("interval", self.interval, 1)
        check_positive("thermostat_time", self.thermostat_time)
        check_finite("pressure", self.pressure)
        check_positive("barostat_time", self.barostat_time)
        check_seed(self.seed)


FILES = ("input.xml", "start.xyz", "model.qiff", "qiff_pes.py")
"""What `write_inputs` writes."""
_PES = '''"""The potential energy surface that input.xml names."""

from qiff.interfaces.ipi import Driver

__DRIVER_NAME__ = "qiff"
__DRIVER_CLASS__ = Driver.__name__
'''
_PES_OPTIONS = "-m custom -P qiff_pes.py -o model=model.qiff,template=start.xyz"
_INPUT = """<simulation verbosity='medium'>
  <output prefix='ipi'>
    <properties filename='out' stride='$interval'>
      [step, time{femtosecond}, conserved{electronvolt}, temperature{kelvin},
       potential{electronvolt}, kinetic_cv{electronvolt}$columns]
    </properties>
    <trajectory filename='centroid' format='xyz' cell_units='angstrom' stride='$interval'>
      x_centroid{angstrom}
    </trajectory>
    <trajectory filename='bead' format='ase' cell_units='ase' stride='$interval'>
      positions{ase}
    </trajectory>
    <checkpoint filename='checkpoint' stride='$interval' overwrite='True'/>
  </output>
  <total_steps>$steps</total_steps>
  <prng><seed>$seed</seed></prng>
  $forcefield
  <system>
    <initialize nbeads='$beads'>
      <file mode='ase'>start.xyz</file>
      <velocities mode='thermal' units='kelvin'>$temperature</velocities>
    </initialize>
    <forces><force forcefield='qiff'/></forces>
    <ensemble>
      <temperature units='kelvin'>$temperature</temperature>
      <pressure units='gigapascal'>$pressure</pressure>
    </ensemble>
    <motion mode='dynamics'>
      $constraint
      <dynamics mode='$ensemble'>
        <timestep units='femtosecond'>$timestep</timestep>$coupling
      </dynamics>
    </motion>
  </system>
</simulation>
"""
_DIRECT = """<ffdirect name='qiff'>
    <pes>custom</pes>
    <pes_path>qiff_pes.py</pes_path>
    <batch_size>$beads</batch_size>
    <parameters>{model: model.qiff, template: start.xyz}</parameters>
  </ffdirect>"""
_SOCKET = """<ffsocket name='qiff' mode='$mode'>
    <address>$address</address>
    <port>$port</port>
    <batch_size>$beads</batch_size>
  </ffsocket>"""
_MARGIN = 10.0  # Å, between a molecule and the faces of the cell that i-PI gives it


def write_inputs(
    folder: Path,
    model: Path | str,
    atoms: ase.Atoms,
    settings: PathIntegral,
    fixed: Sequence[int] = (),
    socket: str = "",
) -> str:
    """Write what i-PI reads, `FILES`, each atomically; the model is copied.

    Args:
        folder: of the files, in which i-PI is to be started.
        model: a model file, or the name of a bundled model.
        atoms: the positions at the start, of every bead. Where nothing is periodic the cell is
            without meaning; otherwise the crystal is rotated so that its first cell vector is
            along x and the second in the xy plane, as i-PI requires.
        settings: what to simulate.
        fixed: indices of atoms that do not move.
        socket: if given, i-PI waits for clients there instead of calling the potential itself:
            the name of a Unix socket, or HOST:PORT.

    Returns:
        The command that starts a client; empty without a socket.

    Raises:
        InputError: constant pressure is asked for and not everything is periodic, or the port of
            the socket is no number.
    """
    periodic = bool(atoms.pbc.all())
    if settings.ensemble == "npt" and not periodic:
        raise InputError(
            "`ensemble` npt needs atoms that are periodic along three cell vectors, but pbc is "
            f"{atoms.pbc.tolist()}; use nvt or nve."
        )
    forcefield, client = _forcefield(socket)
    columns = ", volume{angstrom3}, pressure_cv{gigapascal}" if periodic else ""
    text = Template(_INPUT).safe_substitute(
        columns=columns,
        forcefield=forcefield,
        constraint=f"<fixatoms>{list(map(int, fixed))}</fixatoms>" if len(fixed) else "",
        coupling=ENSEMBLES[settings.ensemble],
    )
    atomic_write(folder / "model.qiff", model_file(model).read_bytes())
    write(folder / "start.xyz", [_start(atoms)])
    atomic_write(folder / "qiff_pes.py", _PES)
    atomic_write(folder / "input.xml", Template(text).substitute(asdict(settings)))
    return client


def _forcefield(socket: str) -> tuple[str, str]:
    """How i-PI gets forces, and the command of a client."""
    if not socket:
        return _DIRECT, ""
    host, colon, port = socket.rpartition(":")
    if colon and not port.isdecimal():
        raise InputError(f"`socket` must be a name or HOST:PORT, but is `{socket}`.")
    mode, address = ("inet", host) if colon else ("unix", socket)
    where = f"-a {host} -p {port}" if colon else f"-u -a {socket}"
    parts = {"mode": mode, "address": address, "port": port if colon else "65535"}
    return Template(_SOCKET).safe_substitute(parts), f"i-pi-py_driver {where} {_PES_OPTIONS}"


def _start(atoms: ase.Atoms) -> ase.Atoms:
    """The same atoms in a cell of the form that i-PI requires."""
    start = ase.Atoms(atoms.numbers, atoms.positions, masses=atoms.get_masses(), pbc=atoms.pbc)
    if not atoms.pbc.any():
        start.cell = Cell(np.eye(3) * (np.ptp(atoms.positions, axis=0) + 2 * _MARGIN))
        return start
    cell = complete_cell(atoms.cell.array)
    cell[2] *= np.sign(np.linalg.det(cell))  # the same lattice, right-handed
    start.cell = Cell(cell)
    start.set_cell(Cell(cell).standard_form()[0], scale_atoms=True)
    return start
