"""Every client made for this API, unmodified, against a real server: ``make clients``."""
