"""Drawings of circuits as text: every gate of a program once, its repeated layer folded."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from .gate import Gate
from .observable import PauliSum, pair_exchange
from .program import Program

_FACES = {
    "spin": ("R",),
    "mirror": ("M", "X"),
    "quadrupole": ("Q", "Q"),
    "exchange": ("J", "J"),
    "cnot": ("●", "⊕"),
    "cz": ("●", "●"),
}
"""What stands on each qubit of a gate; its name, if it is not here."""
_TENSORS = {0: "s", 1: "v", 2: "Q", None: "x"}
"""Letters of data by the rank of the tensor that a gate encodes."""


class Mark(NamedTuple):
    """What the angles of a gate are made of.

    Args:
        role: `data`, `trained`, or `fixed` for a gate without angles.
        label: equal for gates that share a weight or encode the same data; empty if fixed.
    """

    role: str
    label: str


@dataclass(frozen=True)
class Sketch:
    """A program and the marks of its gates, in their order: what is drawn.

    Args:
        program: the gate list.
        first, layer: marks of the gates of both parts of the program.
    """

    program: Program
    first: tuple[Mark, ...]
    layer: tuple[Mark, ...]

    @property
    def parts(self) -> tuple[tuple["Placed", ...], ...]:
        """The gates of `first` and of one `layer`, each in its column."""
        pairs = (self.program.first, self.first), (self.program.layer, self.layer)
        return tuple(placed(gates, marks) for gates, marks in pairs)

    @property
    def legend(self) -> str:
        """The letters of gates, and what labels mean."""
        gates = {gate.name: None for gate in (*self.program.first, *self.program.layer)}
        letters = [f"{_FACES[name][0]} {name}" for name in gates if name in _FACES]
        singlets = ["ψ singlet of two qubits"] * bool(self.program.state.pairs)
        return ", ".join([*singlets, *letters, "θ weight: equal labels share it"])


class Placed(NamedTuple):
    """A gate in a drawing: its column from 0, and its mark."""

    gate: Gate
    column: int
    mark: Mark

    @property
    def faces(self) -> tuple[str, ...]:
        """What is written on each of its qubits."""
        names = _FACES.get(self.gate.name, (self.gate.name,) * len(self.gate.qubits))
        if self.mark.role == "fixed":
            return names
        return f"{names[0]} {self.mark.label}", *(
            name if name != names[0] else f"{name} {self.mark.label}" for name in names[1:]
        )


def sketch_of(program: Program) -> Sketch:
    """The sketch of a program whose angles are computed elsewhere.

    Gates at the end of the layer that repeat those of `first` are of data, as `reuploading` puts
    them; the others are trained.
    """
    n_data = len(program.first)
    same = [(gate.name, gate.qubits) for gate in program.first]
    repeats = [(gate.name, gate.qubits) for gate in program.layer[-n_data:]] == same
    data = _data_marks(program.first)
    trained = program.layer[: len(program.layer) - n_data] if repeats else program.layer
    layer = tuple(trained_mark(gate, number) for number, gate in enumerate(trained))
    return Sketch(program, data, layer + data * repeats)


def trained_mark(gate: Gate, weight: int | None) -> Mark:
    """The mark of a trained gate, of a weight with this number."""
    return Mark("trained", f"θ{weight}") if gate.kind.n_angles else Mark("fixed", "")


def _data_marks(gates: Sequence[Gate]) -> tuple[Mark, ...]:
    counts: dict[str, int] = {}
    marks = []
    for gate in gates:
        letter = _TENSORS.get(gate.kind.rank, "x")
        counts[letter] = counts.get(letter, -1) + 1
        found = Mark("data", f"{letter}{counts[letter]}")
        marks.append(found if gate.kind.n_angles else Mark("fixed", ""))
    return tuple(marks)


def placed(gates: Iterable[Gate], marks: Iterable[Mark]) -> tuple[Placed, ...]:
    """Every gate in the first column in which the qubits that it spans are free."""
    free: dict[int, int] = {}
    found = []
    for gate, mark in zip(gates, marks, strict=True):
        span = range(min(gate.qubits), max(gate.qubits) + 1)
        column = max(free.get(qubit, 0) for qubit in span)
        free |= dict.fromkeys(span, column + 1)
        found.append(Placed(gate, column, mark))
    return tuple(found)


def drawn(sketch: Sketch, width: int = 100) -> str:
    """The drawing of a circuit as text.

    Args:
        sketch: the circuit.
        width: of a line; what is longer is continued below.
    """
    n, (first, layer) = sketch.program.n_qubits, sketch.parts
    begin, end = _start(sketch), _bar(n, "║", "")
    blocks = [*_blocks(first, n)]
    if layer and sketch.program.n_layers:
        blocks += [_bar(n, "║", f"× {sketch.program.n_layers}"), *_blocks(layer, n), end]
    lines: list[str] = []
    for band in _bands(blocks, width - len(begin[1])):
        rows = ["".join(texts).rstrip() for texts in zip(begin, *band, strict=True)]
        lines += [*rows[: 1 if rows[0].strip() else 0], *rows[1:], ""]
    measured = f"measured: {', '.join(observable_names(sketch.program.observables))}"
    return "\n".join([*lines[:-1], sketch.legend, measured])


def _blocks(gates: Sequence[Placed], n_qubits: int) -> list[list[str]]:
    """Each column as lines of equal length: a head, then a wire for each qubit, gaps between."""
    n_columns = max((one.column + 1 for one in gates), default=0)
    return [_column([o for o in gates if o.column == c], n_qubits) for c in range(n_columns)]


def _column(gates: Sequence[Placed], n_qubits: int) -> list[str]:
    texts, crossed, gaps = {}, set(), set()
    for one in gates:
        for qubit, face in zip(one.gate.qubits, one.faces, strict=True):
            texts[qubit] = f"[{face}]" if len(face) > 1 or face.isalpha() else face
        low, high = min(one.gate.qubits), max(one.gate.qubits)
        crossed |= set(range(low + 1, high))
        gaps |= set(range(low, high))
    width = 2 + max(map(len, texts.values()))
    lines = [" " * width]
    for qubit in range(n_qubits):
        text = texts.get(qubit, "┼" if qubit in crossed else "─")
        lines += [text.center(width, "─"), ("│" if qubit in gaps else " ").center(width)]
    return lines[:-1]


def _bar(n_qubits: int, sign: str, head: str) -> list[str]:
    width = max(3, len(head) + 2)
    wires = [f"─{sign}".ljust(width, "─"), f" {sign}".ljust(width)] * n_qubits
    return [f" {head}".ljust(width), *wires[:-1]]


def _start(sketch: Sketch) -> list[str]:
    pairs = {q: f"ψ{i}" for i, pair in enumerate(sketch.program.state.pairs) for q in pair}
    texts = [f"q{q} {pairs.get(q, '0')} " for q in range(sketch.program.n_qubits)]
    width = max(map(len, texts))
    wires = [line for text in texts for line in (text.ljust(width), " " * width)]
    return [" " * width, *wires[:-1]]


def _bands(blocks: Sequence[list[str]], width: int) -> list[list[list[str]]]:
    """Blocks in lines of at most this width."""
    ends = list(accumulate(len(block[1]) for block in blocks))
    bands: list[list[list[str]]] = [[]]
    offset = 0
    for block, end in zip(blocks, ends, strict=True):
        if end - offset > width and bands[-1]:
            bands.append([])
            offset = end - len(block[1])
        bands[-1].append(block)
    return bands


def observable_names(observables: Sequence[PauliSum]) -> list[str]:
    """Names of what is measured; three components of a vector, or many pairs, are one name."""
    names = [_observable_name(one) for one in observables]
    vectors = [f"⟨σ{q}⟩" for q in range(observables[0].n_qubits)] if observables else []
    for vector in vectors:
        axes = [vector.replace("σ", axis) for axis in "XYZ"]
        if set(axes) <= set(names):
            names[names.index(axes[0])] = vector
            names = [name for name in names if name not in axes]
    pairs = [name for name in names if name.count("σ") == 2 and "+" not in name]
    if len(pairs) > 3:
        names = [f"⟨σa·σb⟩ of {len(pairs)} pairs", *(n for n in names if n not in pairs)]
    return names


def _observable_name(observable: PauliSum) -> str:
    """$\\sigma_a\\cdot\\sigma_b$, or a sum of Pauli words."""
    rest = dict.fromkeys(observable.terms)
    names = []
    for factor, word in observable.terms:
        qubits = [q for q, letter in enumerate(word) if letter != "I"]
        same = []
        if len(qubits) == 2:
            exchange = pair_exchange((qubits[0], qubits[1]), observable.n_qubits)
            same = [(factor, other) for _, other in exchange.terms]
        if (factor, word) not in rest:
            continue
        if same and all(term in rest for term in same):
            names.append((factor, "·".join(f"σ{q}" for q in qubits)))
            rest = {term: None for term in rest if term not in same}
        else:
            names.append((factor, "".join(f"{word[q]}{q}" for q in qubits) or "1"))
    if len({factor for factor, _ in names}) == 1 and len(names) > 1:
        factor, inner = names[0][0], " + ".join(name for _, name in names)
        return f"{factor:.3g} ⟨{inner}⟩"
    return " + ".join(f"⟨{n}⟩" if factor == 1 else f"{factor:.3g} ⟨{n}⟩" for factor, n in names)
