"""Laws hold in float64."""

import pytest

from qiff.model.predict import enable_x64


@pytest.fixture(autouse=True)
def float64():
    with enable_x64(True):
        yield
