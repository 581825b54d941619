"""Other companies' servers, as far as we speak with them: real HTTP, with state."""
