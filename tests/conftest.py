"""What tests share: the reference data, where it is at hand."""

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("QIFF_CACHE", "off")  # tests compile anew, and write to no cache of the user
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell script
    signal.signal(signal.SIGINT, signal.default_int_handler)  # or processes would ignore it too


def reference(folder: str) -> Path:
    """A folder of reference data; the test is skipped where it is not at hand."""
    root = os.environ.get("QIFF_DATA", "")
    if not (root and (Path(root) / folder).is_dir()):
        pytest.skip(f"needs the folder {folder} in the folder that QIFF_DATA names")
    return Path(root) / folder


@pytest.fixture(scope="session")
def water_demo() -> Path:
    """The 850 frames of the public demo of Le et al."""
    return reference("water-demo")


@pytest.fixture(scope="session")
def rmd17() -> Path:
    """The revised MD17 set, split 1."""
    return reference("rmd17")


@pytest.fixture(autouse=True, scope="session")
def _programs_stay_in_memory():
    """Tests share compiled programs; the few that are about dropping them set their own number."""
    from qiff import _compiled

    _compiled.most_in_memory = 10**6


@pytest.fixture(autouse=True, scope="session")
def _slow_machines_are_silent():
    """What is shown after two seconds would depend on the machine."""
    from qiff import _progress

    _progress.soon = float("inf")
