"""Drawings of models: from atoms to their energy, with message passing, and their circuits."""

import json
import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from ..model.message_passing import AbstractMessagePassingPotential
from ..model.multipoles import RANKS
from ..model.potential import AbstractPotential
from ..quantum.circuit import Circuit, Simulation, circuits_of
from ..quantum.figure import DATA, INK, TRAINED, draw_circuit, extent, stacked_figure


class Step(NamedTuple):
    """A step from atoms to energy.

    Args:
        name: in the plural, where there is one of each atom.
        size: in a few words.
        repeats: how often it is carried out, with messages between atoms from the second time on.
    """

    name: str
    size: str
    repeats: int = 1


def part_of(potential: AbstractPotential) -> AbstractPotential:
    """What is inside a scaled potential; of an ensemble that of its first member."""
    member = potential.members[0]
    inner = getattr(member, "potential", member)
    return inner if isinstance(inner, AbstractPotential) else member


def distinct_circuits(potential: AbstractPotential) -> list[Circuit | Simulation]:
    """The circuits of a potential; of those with one drawing the first."""
    found: dict[str, Circuit | Simulation] = {}
    for circuit in circuits_of(part_of(potential)):
        found.setdefault(circuit.draw(), circuit)
    return list(found.values())


def steps(potential: AbstractPotential) -> list[Step]:
    """The steps from atoms to energy with their sizes."""
    inner, circuits = part_of(potential), distinct_circuits(potential)
    sizes = [f"{c.program.n_qubits} qubits, {c.program.n_layers} layers" for c in circuits]
    computed = Step("circuits", "; ".join(sizes)) if circuits else Step("products", "no circuit")
    if not isinstance(inner, AbstractMessagePassingPotential):
        known = ("elements", "cutoff")
        config = inner.config()
        shown = [f"{key} {_plain(config[key])}" for key in known if config.get(key)]
        displacements = Step("displacements", "vectors between atoms")
        return [Step("atoms", ", ".join(shown)), displacements, computed, Step("energy", "eV")]
    settings, passing = inner.settings, inner.message_passing
    n, first = settings.n_interactions, passing.interactions[0]
    features = f"{first.n_invariants} invariants, {first.n_vectors} vectors"
    if n_circuits := getattr(settings, "n_circuits", 0):
        computed = Step("circuits", f"{n_circuits} for each atom: {computed.size}")
    hidden = f", network of {settings.n_hidden}" * bool(settings.n_hidden)
    return [
        Step("atoms", f"{', '.join(settings.elements)}; cutoff {settings.cutoff:g} Å"),
        Step("densities", f"{settings.n_basis} radial functions, ranks 0 to {len(RANKS) - 1}", n),
        computed._replace(repeats=n),
        Step("features", features, n),
        Step("energy", f"linear read-out{hidden}"),
    ]


def model_text(potential: AbstractPotential) -> str:
    """Steps and circuits of a model as text."""
    lines = [f"{step.name:14} {step.size}" for step in steps(potential)]
    for number, step in enumerate(steps(potential)):
        if step.name == "features" and step.repeats > 1:
            lines[number] += (
                f", {step.repeats} times, from the second with messages from neighbours"
            )
    drawings = [circuit.draw() for circuit in distinct_circuits(potential)]
    return "\n\n".join(["\n  ↓\n".join(lines), *drawings])


def model_figure(potential: AbstractPotential) -> Any:
    """Steps and circuits of a model as a figure of matplotlib."""
    found, sketches = steps(potential), [c.sketch for c in distinct_circuits(potential)]
    size = 3 * len(found) + 0.6, 2.6 if any(step.repeats > 1 for step in found) else 1.7
    circuits = [(extent(one), partial(draw_circuit, sketch=one)) for one in sketches]
    return stacked_figure([(size, partial(_draw_steps, potential, found)), *circuits])


def _draw_steps(potential: AbstractPotential, found: Sequence[Step], axes: Any) -> None:
    """Boxes from atoms to energy, and an arrow for messages."""
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    left, top = -1.4, 0.3 if any(step.repeats > 1 for step in found) else -0.6
    style = {"boxstyle": "round,pad=0,rounding_size=0.12", "lw": 0}
    arrow = {"arrowstyle": "-|>", "mutation_scale": 9, "color": INK, "lw": 0.9}
    for number, step in enumerate(found):
        x, colour = left + 3 * number, TRAINED[0] if step.name == "circuits" else DATA
        axes.add_patch(FancyBboxPatch((x, top), 2.4, 1.2, facecolor=colour, **style))
        words = {"ha": "center", "va": "center", "color": "white"}
        axes.text(x + 1.2, top + 0.27, step.name, fontsize=9, weight="bold", **words)
        axes.text(x + 1.2, top + 0.75, textwrap.fill(step.size, 24), fontsize=6.2, **words)
        if number:
            ends = {"posA": (x - 0.6, top + 0.6), "posB": (x, top + 0.6)}
            axes.add_patch(FancyArrowPatch(**ends, shrinkA=0, shrinkB=0, **arrow))
    repeated = [left + 3 * n + 1.2 for n, step in enumerate(found) if step.repeats > 1]
    if repeated:
        first, last = repeated[0], repeated[-1]
        axes.plot([first, last, last], [-0.1, -0.1, top], color=INK, lw=0.9)
        axes.add_patch(FancyArrowPatch((first, -0.1), (first, top), shrinkA=0, shrinkB=0, **arrow))
        text = f"messages: {_messages(potential)}; {found[1].repeats} interactions"
        axes.text((first + last) / 2, -0.4, text, fontsize=7, color=INK, ha="center", va="center")


def _messages(potential: AbstractPotential) -> str:
    settings = getattr(part_of(potential), "settings", None)
    number = getattr(settings, "n_messages", 0)
    return f"{number} scalars and {number} vectors of each neighbour"


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(dict.fromkeys(map(str, value)))
    return value if isinstance(value, str) else json.dumps(value)
