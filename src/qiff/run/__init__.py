"""Runs: from a config to a folder with a trained model, tables and figures."""
