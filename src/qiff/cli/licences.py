"""Versions and licences of what is installed and needed, from the metadata of the packages."""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import NamedTuple


class Licence(NamedTuple):
    """A package, its version and its licence."""

    name: str
    version: str
    licence: str


def licences(root: str) -> list[Licence]:
    """A package and all installed ones that it depends on, by name.

    Args:
        root: the name of the package. Of the packages that it needs extras are not followed.
    """
    found: dict[str, Licence] = {}
    waiting = [root]
    while waiting:
        name = _normal(waiting.pop())
        try:
            package = distribution(name)
        except PackageNotFoundError:  # an extra, or of another platform
            continue
        if name not in found:
            found[name] = Licence(name, package.version, _licence(package))
            needed = package.requires or []
            waiting += [each for each in needed if name == root or "extra ==" not in each]
    return sorted(found.values())


def _normal(requirement: str) -> str:
    """The name in a requirement, as package indices write it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()


def _licence(package: Distribution) -> str:
    """The licence in the metadata: an expression, classifiers or the first line of a text."""
    fields = package.metadata.get_all
    if expressions := fields("License-Expression"):
        return str(expressions[0])
    classifiers = fields("Classifier") or []
    named = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License :: ")]
    texts = [str(text).strip() for text in fields("License") or []]
    return ", ".join(named) or "".join(texts).partition("\n")[0] or "not declared"
