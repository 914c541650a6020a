"""Molecular dynamics in one compiled loop, harmonic vibrations, and validation by dynamics."""
