"""Learning: from structures without labels to a validated potential, by active learning."""
