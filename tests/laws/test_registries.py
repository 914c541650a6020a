"""Every registered component is under the law."""

import dataclasses

import pytest

from qiff._checks import InputError
from qiff.model.build import MOST_WEIGHTS, skeleton

from .examples import POTENTIAL_EXAMPLES, REGISTRIES, TRIATOMIC


@pytest.mark.parametrize("registry", REGISTRIES)
def test_every_component_has_a_law(registry):
    components, examples = REGISTRIES[registry]
    assert set(components) == set(examples)


SIZES = [
    (examples[0].config, field.name)
    for kind, examples in POTENTIAL_EXAMPLES.items()
    for field in dataclasses.fields(REGISTRIES["potentials"][0][kind].Settings)
    if field.type in ("int", int)
]


@pytest.mark.parametrize(("config", "name"), SIZES, ids=[f"{c['kind']}-{n}" for c, n in SIZES])
def test_every_size_of_every_potential_has_a_bound(config, name):
    for size in (10**6, 10**9):
        with pytest.raises(
            InputError, match=rf"argument `{name}` must be at most \d+, but is {size}"
        ):
            skeleton(config | {name: size})


def test_sizes_that_are_too_much_together_are_refused():
    many = {"n_basis": 1000, "n_circuits": 1000, "n_layers": 1000}
    with pytest.raises(InputError, match=f"at most {MOST_WEIGHTS} weights, but would have"):
        skeleton({"kind": "local", "elements": ["H"], **many})
    nested = TRIATOMIC
    for _ in range(100):
        nested = {"kind": "sum", "potentials": [nested]}
    with pytest.raises(InputError, match="at most 100 potentials"):
        skeleton(nested)
    assert skeleton({"kind": "sum", "potentials": [TRIATOMIC] * 2}).config()["kind"] == "sum"
    with pytest.raises(InputError, match="a central atom and 3 to 7 that are alike"):
        skeleton({"kind": "central", "elements": ["C", *["H"] * 8]})
    with pytest.raises(InputError, match="at most 118 symbols, but are 100000"):
        skeleton({"kind": "local", "elements": ["H"] * 10**5})
