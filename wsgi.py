"""What gunicorn and the Flask CLI load."""

import gc

from app.factory import create_app

app = create_app()

# The application stays for good: the collector need not walk it again, nor start so often.
gc.freeze()
gc.set_threshold(20_000, 20, 20)
