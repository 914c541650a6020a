"""Interfaces: one file for each program that drives our potentials."""
