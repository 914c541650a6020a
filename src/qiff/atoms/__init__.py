"""Atoms only: data sets, units, graphs, references, labels. Nothing here knows of qubits."""
