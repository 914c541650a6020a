"""Programs that label structures, one file for each; `levels.py` lists them."""
