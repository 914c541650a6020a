"""OpenMM: a potential of openmmml, for whole systems and for a molecule in a classical system."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ase
import ase.units
import numpy as np
from jaxtyping import Float

from .._checks import InputError, check_known
from ..atoms.rigid import connected
from ..model.predict import check_atoms, evaluator
from ..training.bundled import model_file
from ..training.checkpoint import load

KJ_PER_MOL = ase.units.kJ / ase.units.mol
"""In eV."""
_OF_EMBEDDINGS = ("linkAtomDistances", "mlLongRange")


class Potential:
    """What `openmmml.MLPotential("qiff", modelPath=…)` works with, by the names of openmmml.

    Args:
        model: a model file, or the name of a bundled model.

    Raises:
        InputError: there is no such model.
    """

    def __init__(self, model: str):
        path = model_file(model)
        self.model = str(path.absolute()) if path == Path(model) else model

    def addForces(  # noqa: N802 (openmmml's interface)
        self,
        topology: Any,
        system: Any,
        atoms: Iterable[int] | None,
        forceGroup: int,
        isolated: bool | None = None,
        **others: Any,
    ) -> None:
        """Add the forces of the potential to a system.

        Args:
            topology: elements of the atoms, and the box.
            system: of OpenMM, which gets a `PythonForce`.
            atoms: indices of those that the potential describes; None for all.
            forceGroup: of the force.
            isolated: whether these atoms are one molecule that does not feel its periodic images;
                by default true of some atoms of a system, false of all of them.
            others: of the embedding; ignored.

        Raises:
            InputError: an option is unknown, an atom has no element, or the model cannot describe
                the atoms.
        """
        from openmm import PythonForce

        for name in others:
            check_known("Option", name, (*_OF_EMBEDDINGS, "isolated"))
        chosen = list(topology.atoms())
        if atoms is not None:
            atoms = list(atoms)
            chosen = [chosen[index] for index in atoms]
        for atom in chosen:
            if atom.element is None:
                raise InputError(f"atom {atom.index} (`{atom.name}`) has no element.")
        numbers = [atom.element.atomic_number for atom in chosen]
        boxed = (
            topology.getPeriodicBoxVectors() is not None or system.usesPeriodicBoundaryConditions()
        )
        isolated = atoms is not None if isolated is None else isolated
        force = PythonForce(Forces(self.model, numbers, boxed, isolated))
        force.setForceGroup(forceGroup)
        force.setUsesPeriodicBoundaryConditions(boxed)
        if atoms is not None:
            force.setParticles(atoms)
        system.addForce(force)

    def getSupportedEmbeddings(self) -> list[str]:  # noqa: N802
        """None of its own: openmmml has mechanical embedding."""
        return []

    def getMLLongRange(self) -> bool:  # noqa: N802
        """False: a potential has a cutoff, or describes an isolated molecule."""
        return False


class Forces:
    """Energy in kJ/mol and forces in kJ/mol/nm of a state of OpenMM.

    It is pickled as the name of the model and what else it is made from, not with the weights.

    Args:
        model: a model file, or the name of a bundled model.
        numbers: atomic numbers.
        boxed: whether OpenMM has a periodic box.
        isolated: whether the atoms are one molecule that does not feel its periodic images. In a
            box it is made whole first.

    Raises:
        InputError: the model cannot be read, or cannot describe the atoms.
    """

    def __init__(self, model: str, numbers: list[int], boxed: bool, isolated: bool):
        self._arguments = model, numbers, boxed, isolated
        self._boxed, self._isolated = boxed, isolated
        potential = load(model)
        atoms = ase.Atoms(numbers, cell=np.eye(3), pbc=boxed and not isolated)
        check_atoms(potential, atoms, f"the atoms of OpenMM with isolated={isolated}")
        self._evaluate = evaluator(potential, atoms)

    def __reduce__(self) -> Any:
        return Forces, self._arguments

    def __call__(self, state: Any) -> tuple[float, Float[np.ndarray, "n_atoms 3"]]:
        positions = 10 * state.getPositions(asNumpy=True)._value
        box = 10 * state.getPeriodicBoxVectors(asNumpy=True)._value if self._boxed else np.eye(3)
        if self._boxed and self._isolated:
            positions = whole(positions, box)
        found = self._evaluate(positions, box)
        return found.energy / KJ_PER_MOL, found.forces * (10 / KJ_PER_MOL)


def whole(
    positions: Float[np.ndarray, "n_atoms 3"], box: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "n_atoms 3"]:
    r"""A molecule whose atoms may lie in different images of a box, brought together.

    Atoms are connected by the tree of least total length, of displacements
    $d - \lfloor d h^{-1} \rceil h$, which is the nearest image if $|d|$ is below half the width of
    the box. The molecule itself may be wider.

    Args:
        positions: in Å.
        box: its rows $h$ are the vectors in Å.
    """
    apart = positions[None] - positions[:, None]
    apart -= np.round(apart @ np.linalg.inv(box)) @ box
    return connected(positions, apart)
