"""A toy process for the supervisor: listens on a port, may have a child, may refuse to end."""

import os
import signal
import socket
import subprocess
import sys

port, behaviour = int(sys.argv[1]), sys.argv[2]
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if behaviour == "parent":
    # In a session of its own, as a worker's work-horse is: no signal to our group reaches it.
    subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True
    )
server = socket.create_server(("127.0.0.1", port))
sys.stdout.write(f"toy {os.getpid()} listens on {port}\n")
sys.stdout.flush()
while True:
    server.accept()[0].close()
