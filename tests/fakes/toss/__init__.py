"""A simulator of Toss Payments: its wire, its rules of idempotency, its webhooks, and no money."""
