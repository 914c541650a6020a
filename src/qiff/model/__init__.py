"""Where atoms and qubits meet: potentials and what is derived from them."""
