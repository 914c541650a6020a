"""Data sets: sources, formats and named sets of labelled configurations."""
