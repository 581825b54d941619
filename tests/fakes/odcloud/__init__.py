"""A register of businesses of our own: odcloud's published requests and answers, on a socket."""
