"""What answers: engines run here, providers run elsewhere."""
