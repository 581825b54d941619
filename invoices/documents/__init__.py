"""Papers: what is on them (papers), how they read (captions, templates), how they are printed."""
