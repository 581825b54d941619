"""PortOne V2 as its merchants see it, without any money."""
