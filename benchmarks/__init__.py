"""Benchmarks: ratios measured side by side in one run. `make bench` runs all of them."""

import os

os.environ["QIFF_CACHE"] = "off"  # first calls are timed with their compilation
