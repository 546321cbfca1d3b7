"""What outlives a process: usage, in files beside the models."""
