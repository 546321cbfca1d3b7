"""The neutral language: what every wire is read into and every model answers in.

Frozen structs of the standard library and msgspec only. A request holds ``None`` (or
``UNSET``, where null has a meaning of its own) for what the caller didn't say.
"""
