"""The mail catcher: real SMTP on this machine, and nothing ever leaves it."""
