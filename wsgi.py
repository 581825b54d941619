"""What gunicorn and the Flask CLI load."""

import gc
import os
import sys

from pydantic import ValidationError

from app.base.config import faults
from app.base.secrets import SecretKeyMissing
from app.factory import create_app

try:
    app = create_app()
except (SecretKeyMissing, ValidationError) as wrong:
    # People at the command line get a line for each setting. A server ends by the error itself:
    # gunicorn would start a worker that merely left, again and again.
    if os.environ.get("FLASK_RUN_FROM_CLI"):
        sys.exit("\n".join(faults(wrong)) if isinstance(wrong, ValidationError) else str(wrong))
    raise

# The application stays for good: the collector need not walk it again, nor start so often.
gc.freeze()
gc.set_threshold(20_000, 20, 20)

# Threads wait for PostgreSQL more than they compute. Who has its answer should not wait the five
# milliseconds that Python gives whoever computes, at each of several answers a request.
sys.setswitchinterval(0.0005)
