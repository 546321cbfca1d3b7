"""What nobody would send, by the hundred thousand."""
