"""The door of time: what is due is found in the database, claimed, and handed to a room."""
