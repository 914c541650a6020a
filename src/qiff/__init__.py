"""qiff, quantum invariant force fields: potentials from quantum circuits with built-in symmetry."""

import sys as _sys
from typing import TYPE_CHECKING

if TYPE_CHECKING or "qiff_command" not in _sys.modules:
    from ._public import *
    from ._public import __version__ as __version__
else:  # the command line loads what its command needs

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name.startswith("_") and name != "__version__":  # a module, about to be imported
            raise AttributeError(name)
        return getattr(import_module("qiff._public"), name)
