"""A slow, obvious model of billing, held against the engine over generated histories."""
