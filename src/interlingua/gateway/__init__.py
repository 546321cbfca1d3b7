"""The use cases: find the deployment, negotiate, wait for a place, answer. No HTTP."""
