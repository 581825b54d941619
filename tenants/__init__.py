"""The tenants' room: from a visit and a trial application to a database, its use and its end."""
