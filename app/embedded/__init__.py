"""The PostgreSQL, the Valkey and the supervisor that a fresh machine runs by itself.

Nothing here imports the rest of the house, and the rest reaches it only from doors: the web
processes know a DATABASE_URL and a REDIS_URL and never who serves them.

Written for Linux (x86_64, aarch64) and macOS. Only Linux has been tried; the macOS paths (no
parent-death signal, no subreaper, shorter socket paths) are marked where they differ.
"""
