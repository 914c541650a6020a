"""Training: losses, metrics, the fit loop and the files it leaves."""
