"""Acme Pay for Tenantry: the example of docs/guide/write-a-gateway.md."""
