"""Long runs that end with a count: what was lost, doubled, or taken for what it wasn't."""
