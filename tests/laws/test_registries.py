"""Every registered component is under the law."""

import pytest

from .examples import REGISTRIES


@pytest.mark.parametrize("registry", REGISTRIES)
def test_every_component_has_a_law(registry):
    components, examples = REGISTRIES[registry]
    assert set(components) == set(examples)
