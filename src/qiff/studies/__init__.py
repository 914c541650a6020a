"""Published and own studies: config in, tables and figures out."""
