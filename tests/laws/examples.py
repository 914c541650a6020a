"""One or more examples of every registered component: the laws run over all of them.

A component that is registered and has no example here fails `test_every_component_has_a_law`.
"""

from dataclasses import dataclass
from typing import Any

import ase
import jax
import jax.numpy as jnp
import numpy as np

from qiff.model.build import POTENTIALS, build
from qiff.model.design import DESIGNS
from qiff.model.predict import enable_x64
from qiff.quantum.ansatz import ANSATZE, CommonRz, Exchange, HardwareEfficient, Sequence
from qiff.quantum.encoding import ENCODINGS, Mirror, Spin
from qiff.quantum.observable import OBSERVABLES, mean_exchange, mean_z, pair_exchange
from qiff.quantum.symmetry import (
    GROUPS,
    AbstractGroup,
    Permutations,
    Product,
    Reflections,
    Rotations,
    alike,
    cyclic,
)

CHAIN = ((0, 1), (2, 3), (1, 2))

ROTATIONS = Rotations(2)
SWAP = alike(("H", "H"))
WATER = Product((ROTATIONS, SWAP))
CYCLE = alike(("H", "H", "H"))
AMMONIA = Product((Rotations(3), cyclic(3)))
MIRRORS = Reflections(3)
HANDS = Product((Rotations(3), MIRRORS))
DIMER = DESIGNS["dimer"](["O", "H", "H", "O", "H", "H"]).group

GROUP_EXAMPLES = {
    "rotations": [ROTATIONS],
    "reflections": [MIRRORS],
    "permutations": [SWAP, CYCLE, cyclic(4)],
    "product": [WATER, AMMONIA, HANDS, DIMER],
}


@dataclass(frozen=True)
class Component:
    """A layer, an encoding or an observable on so many qubits, and what it respects and not."""

    part: Any
    n_qubits: int
    respects: tuple[AbstractGroup, ...]
    breaks: tuple[AbstractGroup, ...] = ()


UNTIED = Product((ROTATIONS, Permutations((), 2)))
ENCODING_EXAMPLES = {
    "spin": [Component(Spin(WATER, 4), 4, (WATER,)), Component(Spin(UNTIED, 4), 4, (ROTATIONS,))],
    "mirror": [Component(Mirror(DIMER, 7), 7, (DIMER,)), Component(Mirror(HANDS, 4), 4, (HANDS,))],
    "axis_rotations": [],  # of numbers, which have no symmetry to respect
}
ANSATZ_EXAMPLES = {
    "exchange": [
        Component(Exchange(WATER, 4, CHAIN), 4, (WATER,)),
        Component(Exchange(ROTATIONS, 4, CHAIN), 4, (ROTATIONS,), breaks=(SWAP,)),
        Component(Exchange(AMMONIA, 6, ((0, 3), (0, 4))), 6, (AMMONIA,), breaks=(CYCLE,)),
        Component(Exchange(DIMER, 7, ((0, 1), (2, 3))), 7, (DIMER,)),
    ],
    "common_rz": [
        Component(CommonRz((0, 1, 2, 3)), 4, (SWAP,), breaks=(ROTATIONS,)),
        Component(CommonRz((6,)), 7, (DIMER,)),
    ],
    "hardware_efficient": [Component(HardwareEfficient(4), 4, (), breaks=(ROTATIONS, SWAP))],
    "sequence": [
        Component(Sequence((Exchange(WATER, 4, CHAIN), Exchange(WATER, 4, CHAIN))), 4, (WATER,)),
        Component(
            Sequence((Exchange(WATER, 4, CHAIN), CommonRz((0, 1, 2, 3)))), 4, (SWAP,), (ROTATIONS,)
        ),
    ],
}
OBSERVABLE_EXAMPLES = {
    "pair_exchange": [
        Component(pair_exchange((0, 1), 4), 4, (WATER,)),
        Component(pair_exchange((1, 2), 4), 4, (ROTATIONS,), breaks=(SWAP,)),
    ],
    "mean_exchange": [
        Component(mean_exchange(((0, 1), (2, 3), (4, 5)), 7), 7, (DIMER,)),
        Component(mean_exchange(((0, 1), (2, 3)), 7), 7, (), breaks=(DIMER,)),
    ],
    "mean_z": [Component(mean_z(4), 4, (SWAP,), breaks=(ROTATIONS,))],
}

TRIATOMIC = {"kind": "triatomic", "elements": ["O", "H", "H"], "n_layers": 3, "n_repeats": 2}
CENTRAL = {"kind": "central", "elements": ["N", "H", "H", "H"], "n_layers": 2, "n_repeats": 2}
DIMERS = {"elements": ["O", "H", "H", "O", "H", "H"], "n_layers": 3}
PAIR = {"kind": "coupled_dimer", **DIMERS}
DIATOMIC = {"kind": "diatomic", "elements": ["Li", "H"], "n_layers": 3, "n_repeats": 2}
GENERIC = {"kind": "generic", "elements": ["O", "H", "H"], "n_layers": 3}
FRAGMENTS = {"kind": "fragments", "molecule": TRIATOMIC, "pair": PAIR, "pair_cutoff": 9.0}
LOCAL = {"kind": "local", "elements": ["H", "C", "O"], "n_layers": 2, "n_basis": 3}
CONTROL = {"kind": "classical", "elements": ["H", "C", "O"], "n_channels": 3, "n_basis": 3}
PAIRS = {"kind": "pairs", "elements": ["H", "C", "O"], "n_basis": 3}
TRIPLETS = {"kind": "cartesian_triplets", "elements": ["H", "C", "O"], "n_layers": 2}
INERT = 2 * (9 * 4 * 3 + 3 * (4 + 4))
"""Without entangling gates every qubit stays maximally mixed: vectors vanish, and so does what
is measured of qubits of different singlets. Projections and read-outs of these are inert."""
REFERENCES = {"O": -2040.0, "H": -15.0, "Li": -200.0}


@dataclass(frozen=True)
class Example:
    """A potential, the molecule it describes and the symmetries it claims."""

    name: str
    config: dict
    molecule: ase.Atoms
    rotations: bool = True
    swaps: tuple[tuple[int, int], ...] = ((1, 2),)
    reorders: bool = True
    any_size: bool = False
    inert: int = 0
    """Weights that no energy depends on, by construction."""

    @property
    def elements(self) -> list[str]:
        """Chemical symbols that the potential tells apart."""
        return sorted(set(LOCAL["elements"]) if self.any_size else set(self.molecule.symbols))

    def fresh(self):
        """The potential with its initial weights."""
        with enable_x64(True):
            return build(self.config, jax.random.key(7))

    def random(self, spread: float = 1.0):
        """The potential with random weights, large if the spread is 1."""
        with enable_x64(True):
            potential = self.fresh()
            leaves, structure = jax.tree.flatten(potential)
            rng = np.random.default_rng(3)
            return jax.tree.unflatten(
                structure, [jnp.asarray(spread * rng.normal(size=leaf.shape)) for leaf in leaves]
            )


def _bent(symbols: str) -> ase.Atoms:
    return ase.Atoms(symbols, [[0.31, -0.12, 0.45], [1.22, 0.14, 0.31], [0.05, 0.83, 0.72]])


def scattered(symbols: str) -> ase.Atoms:
    """Atoms in general position, an Å or so apart."""
    rng = np.random.default_rng(len(symbols))
    return ase.Atoms(symbols, rng.uniform(-1.2, 1.2, size=(len(symbols), 3)))


OHH, LIH = _bent("OHH"), ase.Atoms("LiH", [[0.1, 0.2, -0.3], [0.7, 1.3, 0.4]])

POTENTIAL_EXAMPLES = {
    "diatomic": [
        Example("lithium hydride", DIATOMIC, LIH, swaps=()),
        Example("hydrogen", DIATOMIC | {"elements": ["H", "H"]}, _bent("HHH")[:2], swaps=((0, 1),)),
    ],
    "triatomic": [
        Example("water", TRIATOMIC, OHH),
        Example(
            "hydrogen cyanide", TRIATOMIC | {"elements": ["C", "H", "N"]}, _bent("CHN"), swaps=()
        ),
        Example("broken water", TRIATOMIC | {"symmetry_breaking": True}, OHH, rotations=False),
    ],
    "central": [
        Example("ammonia", CENTRAL, scattered("NHHH"), swaps=((1, 2), (2, 3), (1, 3))),
    ],
    "dimer": [
        Example("dimer", {"kind": "dimer", **DIMERS}, scattered("OHHOHH"), swaps=((1, 2), (4, 5))),
        Example(
            "broken dimer",
            {"kind": "dimer", "symmetry_breaking": True, **DIMERS},
            scattered("OHHOHH"),
            rotations=False,
            swaps=((1, 2), (4, 5)),
        ),
    ],
    "coupled_dimer": [Example("coupled dimer", PAIR, scattered("OHHOHH"), swaps=((1, 2), (4, 5)))],
    "generic": [
        Example("generic diatomic", GENERIC | {"elements": ["Li", "H"]}, LIH, swaps=()),
        Example("generic triatomic", GENERIC, OHH, swaps=(), reorders=False),
    ],
    "fragments": [
        Example("three waters", FRAGMENTS, scattered("OHHOHHOHH"), swaps=((1, 2), (4, 5), (7, 8))),
    ],
    "hybrid": [
        Example(
            "hybrid water", {"kind": "hybrid", "circuits": [TRIATOMIC, TRIATOMIC]}, OHH, inert=4
        ),
    ],
    "local": [
        Example(
            "circuits of atoms", LOCAL, scattered("OHHCH"), swaps=((1, 2), (2, 4)), any_size=True
        ),
        Example(
            "circuits in two interactions",
            LOCAL
            | {
                "n_hidden": 3,
                "n_embedding": 2,
                "n_circuits": 1,
                "n_interactions": 2,
                "n_messages": 2,
            },
            scattered("CHHO"),
            any_size=True,
        ),
        Example(
            "circuits of qubits alone",
            LOCAL | {"entangling": False},
            scattered("CHHO"),
            any_size=True,
            inert=INERT,
        ),
    ],
    "classical": [
        Example(
            "network of atoms",
            CONTROL | {"n_interactions": 2},
            scattered("OHHCH"),
            swaps=((1, 2),),
            any_size=True,
        ),
        Example(
            "linear in invariants", CONTROL | {"n_hidden": 0}, scattered("CHHO"), any_size=True
        ),
    ],
    "cartesian_triplets": [
        Example(
            "blind triplets", TRIPLETS, scattered("OHHC"), swaps=((1, 2), (0, 3)), any_size=True
        )
    ],
    "radial_triplets": [
        Example(
            "triplets", TRIPLETS | {"kind": "radial_triplets"}, scattered("CHHO"), any_size=True
        )
    ],
    "scale_shift": [
        Example(
            "scaled water",
            {
                "kind": "scale_shift",
                "potential": TRIATOMIC,
                "scale": 1.7,
                "reference_energies": REFERENCES,
            },
            OHH,
        )
    ],
    "ensemble": [
        Example(
            "ensemble",
            {"kind": "ensemble", "potentials": [CONTROL, CONTROL]},
            scattered("OHHC"),
            any_size=True,
        )
    ],
    "pairs": [
        Example("pair energies", PAIRS, scattered("OHHCH"), swaps=((1, 2), (2, 4)), any_size=True)
    ],
    "sum": [Example("sum", {"kind": "sum", "potentials": [TRIATOMIC, PAIRS]}, OHH, inert=12)],
}

REGISTRIES = {
    "groups": (GROUPS, GROUP_EXAMPLES),
    "encodings": (ENCODINGS, ENCODING_EXAMPLES),
    "ansätze": (ANSATZE, ANSATZ_EXAMPLES),
    "observables": (OBSERVABLES, OBSERVABLE_EXAMPLES),
    "potentials": (POTENTIALS, POTENTIAL_EXAMPLES),
}


def every(examples: dict[str, list]) -> list:
    """All examples of a registry."""
    return [example for several in examples.values() for example in several]
