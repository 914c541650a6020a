"""Atoms only: data sets, units, graphs, references, labels. Nothing here uses qubits."""
