"""Labelling: reference calculations, the sampling of geometries, and computed data sets."""
