"""Payment gateways: one port in our words, and an adapter for each way of being paid."""
