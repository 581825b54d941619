"""Tenantry: the doors (web, cli), the floor (base) and the factory that joins them."""
