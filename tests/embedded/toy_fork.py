"""A toy module to be forked: tells what it is, and leaves a thread to be waited for at its end."""

import json
import os
import sys
import threading
from pathlib import Path

threading.Thread(target=lambda: sys.stdout.write("the thread was waited for\n")).start()
told = {
    "arguments": sys.argv[1:],
    "directory": str(Path.cwd()),
    "is its own session": os.getsid(0) == os.getpid(),
    "holds": [str(path.resolve()) for path in Path("/proc/self/fd").iterdir()],
    "mark": os.environ["MARK"],
    "called": Path("/proc/self/comm").read_text().strip(),
}
sys.stdout.write(json.dumps(told) + "\n")
sys.exit(3)
