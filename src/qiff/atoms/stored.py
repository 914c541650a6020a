"""Stacks of labelled configurations in files, for those that do not fit into memory."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import ase
import jax
import numpy as np

from .frames import Frames, Layout, stack
from .graph import Size

_PIECE = 256  # configurations that are stacked at a time


def stacked_size(frames: Sequence[ase.Atoms], dtype: str, cutoff: float | None) -> int:
    """Estimated bytes of `stack`: all configurations taken to be like the one with most atoms."""
    if not frames:
        return 0
    largest = max(frames, key=len)
    return len(frames) * sum(leaf.nbytes for leaf in _arrays(stack([largest], dtype, cutoff)))


def stack_in_files(
    frames: Sequence[ase.Atoms], folder: Path, dtype: str, cutoff: float | None
) -> Frames:
    """The same as `stack`, with arrays in files of which only what is used is read.

    Args:
        frames: configurations of any sizes.
        folder: of the files, one for each array; what it holds is replaced.
        dtype, cutoff: see `stack`.

    Raises:
        InputError: a weight is negative or no number.
        OSError: the files cannot be written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    layout = Layout()
    for part in _pieces(frames):
        layout = _joined(layout, stack(part, dtype, cutoff))
    structure = jax.tree.structure(stack(frames[:1], dtype, cutoff, layout))
    paths = [folder / f"{index}.npy" for index in range(structure.num_leaves)]
    with ExitStack() as opened:
        files = [opened.enter_context(path.open("wb")) for path in paths]
        for number, part in enumerate(_pieces(frames)):
            arrays = _arrays(stack(part, dtype, cutoff, layout))
            for file, values in zip(files, arrays, strict=True):
                if number == 0:
                    _write_header(file, (len(frames), *values.shape[1:]), values.dtype)
                file.write(np.ascontiguousarray(values).data)
    return jax.tree.unflatten(structure, [np.load(path, mmap_mode="r") for path in paths])


def _pieces(frames: Sequence[ase.Atoms]) -> Iterator[Sequence[ase.Atoms]]:
    for begin in range(0, len(frames), _PIECE):
        yield frames[begin : begin + _PIECE]


def _joined(layout: Layout, frames: Frames) -> Layout:
    """A layout with room for other configurations, too."""
    graph, size = frames.graph, layout.size
    _, n_atoms, n_neighbours = graph.mask.shape
    return Layout(
        Size(
            max(size.n_atoms, n_atoms),
            max(size.n_neighbours, n_neighbours),
            size.periodic or graph.cell is not None,
        ),
        layout.labelled.union(frames.labels),
        layout.weighted.union(frames.weights),
    )


def _arrays(frames: Frames) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(frames)]


def _write_header(file: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """The header of a file of `numpy.save`."""
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
