"""The texts that a customer agrees to, each kept by its version."""
