"""Configs to start from."""

from importlib.resources import files

from .._checks import check_known

RUN_TEMPLATES = ("water", "lih", "ammonia", "water-dimer", "molecule")
"""For `qiff train`."""
TEMPLATES = (*RUN_TEMPLATES, "learn")


def template(name: str) -> str:
    """The text of a config that comes with the package."""
    check_known("Template", name, TEMPLATES)
    return (files("qiff") / "templates" / f"{name}.toml").read_text("utf-8")
