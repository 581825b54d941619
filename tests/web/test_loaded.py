"""What a web process holds in memory: of the libraries, those that it answers requests with."""

from __future__ import annotations

import json
import os
import subprocess
import sys

# Printing, signing and the timetable are other processes' work; holidays are written down; Valkey
# has one client; logs are JSON, and SQLAlchemy waits. Who asks what an issuer of tax papers or a
# gateway can do, as pages do, opens no certificate and no connection.
ELSEWHERE = (
    *("weasyprint", "fontTools", "lxml", "xmlsec", "ezdxf"),
    *("apscheduler", "rq", "alembic", "holidays", "valkey"),
    *("rich", "pygments", "greenlet"),
    *("cryptography.x509", "invoices.tax_papers.seals", "httpcore"),
)


def test_a_web_process_loads_no_library_of_other_processes():
    script = (
        "import json, sys, wsgi\n"
        "from invoices.tax_papers import registry\n"
        "registry.issuer('offline').abilities\n"
        "from invoices.gateways import registry\n"
        "registry.gateway('sandbox').capabilities\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    # Requests are counted in Valkey where people can reach the pages, not in tests.
    deployed = os.environ | {"TENANTRY_ENVIRONMENT": "dev"}
    run = subprocess.run(
        [sys.executable, "-c", script], env=deployed, capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(run.stdout))
    assert "app.web" in loaded
    assert loaded.isdisjoint(ELSEWHERE)
