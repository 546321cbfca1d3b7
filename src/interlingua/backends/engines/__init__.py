"""Engines: models that run here, each in a process of its own behind a private socket."""
