"""A Stripe of our own: its wire, its rules for repeated keys and its webhooks, and no money.

What it answers is built from Stripe's published fixtures, and it takes only parameters that
Stripe's SDK publishes for the call. `/_simulator/…` tells it to misbehave.
"""
