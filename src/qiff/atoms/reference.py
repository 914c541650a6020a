"""Reference energies: what a potential need not learn, fitted on the training part only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import ase
import numpy as np
from jaxtyping import Float

from .._checks import InputError
from .graph import has_volume
from .properties import labels


@dataclass(frozen=True)
class Reference:
    """Energy of an atom of each element and the scale of what is left, in eV."""

    energies: dict[int, float]
    scale: float


ISOLATED = "IsolatedAtom"
"""`config_type` in `info` of a configuration that gives the energy of an isolated atom."""


def apart(frames: Sequence[ase.Atoms]) -> tuple[dict[int, float], list[ase.Atoms]]:
    """Energies of isolated atoms by atomic number, and the other frames.

    Raises:
        InputError: a frame of an isolated atom has several atoms, or no energy.
    """
    energies, others = {}, []
    for index, atoms in enumerate(frames):
        if not is_isolated_atom(atoms):
            others.append(atoms)
        elif len(atoms) != 1 or "energy" not in labels(atoms):
            raise InputError(
                f"`frames` of type {ISOLATED} must have one atom and an energy, but frame {index} "
                f"has {len(atoms)} atoms and the labels {', '.join(labels(atoms)) or 'none'}."
            )
        else:
            energies[int(atoms.numbers[0])] = float(labels(atoms)["energy"])
    return energies, others


def is_isolated_atom(atoms: ase.Atoms) -> bool:
    """Whether a configuration is of type `IsolatedAtom`, in any case, perhaps with underscores."""
    kind = str(atoms.info.get("config_type", "")).replace("_", "")
    return kind.lower() == ISOLATED.lower()


def fit_reference(
    frames: Sequence[ase.Atoms], isolated: Mapping[int, float] = MappingProxyType({})
) -> Reference:
    r"""Least-squares energies per element and the scale of the residuals.

    $$ E_k = \sum_z n_{kz}\, e_z + \Delta_k $$

    with $n_{kz}$ atoms of element $z$ in frame $k$, and the solution nearest to the energies of
    isolated atoms, by default to zero, where the compositions leave it open. For one molecule the
    sum is the mean energy, and the scale half the range of $\Delta_k$: an affine map. For several
    compositions, whose energies grow with their number $n_k$ of atoms, the scale is the root mean
    square of $\Delta_k/\sqrt{n_k}$; in periodic cells that of the components of the forces, times
    1 Å.

    Args:
        frames: labelled; those without an energy do not count.
        isolated: energies in eV of isolated atoms by atomic number, those that are known.

    Raises:
        InputError: no frame has an energy, or all energies are equal once the reference is off.
    """
    frames = [atoms for atoms in frames if "energy" in labels(atoms)]
    if not frames:
        raise InputError("`frames` must have an energy, one at least.")
    energies = np.array([labels(atoms)["energy"] for atoms in frames])
    of_isolated = [sum(isolated.get(int(z), 0.0) for z in atoms.numbers) for atoms in frames]
    off = per_element(frames, energies - np.array(of_isolated))
    moved = {z: energy + isolated.get(z, 0.0) for z, energy in off.energies.items()}
    reference = Reference(moved, _scale_of_forces(frames) or off.scale)
    if not reference.scale > 1e-9:
        raise InputError("`frames` must have different energies, but all are equal.")
    return reference


def _scale_of_forces(frames: Sequence[ase.Atoms]) -> float:
    """Root mean square component of the forces in periodic cells, times 1 Å; zero elsewhere.

    The energies of cells grow with their size, and their range is no scale for one atom.
    """
    forces = [labels(a)["forces"] for a in frames if has_volume(a) and "forces" in labels(a)]
    return float(np.sqrt(np.mean(np.concatenate(forces) ** 2))) if forces else 0.0


def per_element(frames: Sequence[ase.Atoms], energies: Float[np.ndarray, " n_frames"]) -> Reference:
    """The same of any energies, one for each frame."""
    elements = sorted({int(z) for atoms in frames for z in atoms.numbers})
    counts = np.array([[np.sum(atoms.numbers == z) for z in elements] for atoms in frames], float)
    found, *_ = np.linalg.lstsq(counts, energies, rcond=None)
    left, several = energies - counts @ found, np.ptp(counts, axis=0).any()
    scale = np.sqrt(np.mean(left**2 / counts.sum(1))) if several else np.ptp(left) / 2
    return Reference(dict(zip(elements, found.tolist(), strict=True)), float(scale))
