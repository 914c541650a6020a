"""Qubits only: gates, circuits, symmetry and the engine. Nothing here knows what an atom is."""
