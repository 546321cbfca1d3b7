"""Wire formats: bytes to types and back, both directions, no I/O."""
