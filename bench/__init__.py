"""Benchmarks: ratios beside a floor, both measured in one run. ``make bench``."""
