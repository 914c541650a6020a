"""What tests share: small potentials and molecules, and the reference data where it is at hand."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def water_demo() -> Path:
    """The 850 frames of the public demo of Le et al., if `QIFF_DATA` names a folder with them."""
    folder = Path(os.environ.get("QIFF_DATA", "")) / "water-demo"
    if not (os.environ.get("QIFF_DATA") and folder.is_dir()):
        pytest.skip("needs the folder water-demo in the folder that QIFF_DATA names")
    return folder
