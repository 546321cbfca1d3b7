"""Servers that others wrote, as upstreams of ours: what the conformance suite says of them."""
