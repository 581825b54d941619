"""What gunicorn and the Flask CLI load."""

import gc
import sys

from app.factory import create_app

app = create_app()

# The application stays for good: the collector need not walk it again, nor start so often.
gc.freeze()
gc.set_threshold(20_000, 20, 20)

# Threads wait for PostgreSQL more than they compute. Who has its answer should not wait the five
# milliseconds that Python gives whoever computes, at each of several answers a request.
sys.setswitchinterval(0.0005)
