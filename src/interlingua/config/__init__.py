"""One TOML file, one schema."""
