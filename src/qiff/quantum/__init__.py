"""Qubits only: gates, circuits, symmetry and engines. Nothing here depends on atoms."""
