"""Cases that any server of this API must pass, derived from what a deployment says it can do."""
