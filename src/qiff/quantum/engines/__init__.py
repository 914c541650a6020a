"""Back ends of the engine, one file each."""
