"""Providers: models that somebody else serves, behind the wires that they publish."""
