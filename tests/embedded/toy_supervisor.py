"""Supervises toys: toy_supervisor.py DIRECTORY PORT BEHAVIOUR [PORT BEHAVIOUR …]."""

import os
import signal
import sys
from pathlib import Path

from app.embedded import ports
from app.embedded.children import Process
from app.embedded.supervisor import Supervisor, claim

directory = Path(sys.argv[1])
toys = list(zip(sys.argv[2::2], sys.argv[3::2], strict=True))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def toy(number: str, behaviour: str) -> Process:
    if behaviour == "once":
        command = (sys.executable, "-c", "print('done once')")
    elif behaviour == "broken":
        command = (sys.executable, "-c", "raise SystemExit('broken on purpose')")
    else:
        command = (sys.executable, str(Path(__file__).with_name("toy.py")), number, behaviour)
    return Process(
        name=f"{behaviour}-{number}",
        command=command,
        environment=dict(os.environ),
        ready=None if behaviour == "once" else lambda _pid: ports.answers(int(number)),
        once=behaviour == "once",
        ladder=((signal.SIGTERM, 0.5),),
    )


claim(directory / "run", say=say)
supervisor = Supervisor(
    [[toy(number, behaviour)] for number, behaviour in toys],
    run_directory=directory / "run",
    log_directory=directory / "log",
    say=say,
    echo=sys.stdout,
)
sys.exit(supervisor.run(on_ready=lambda: say("all ready")))
