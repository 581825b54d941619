"""A popbill of our own: its published requests and answers, with state, on a real socket."""
