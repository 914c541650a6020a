"""Entry point of openmmml, which imports it in any case; qiff is imported when it is used."""

from typing import Any


class Factory:
    """Makes what `openmmml.MLPotential("qiff", modelPath=…)` works with."""

    def createImpl(self, name: str, modelPath: str) -> Any:  # noqa: N802 (openmmml's interface)
        """The potential of a model file, or of a bundled model."""
        from qiff.interfaces.openmm import Potential

        return Potential(modelPath)
