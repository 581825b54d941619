"""Who can be asked about a business: a port and its adapters."""
