"""What clients of plain HTTP on this machine trust: nobody, for nobody here shows a certificate.

A client that is not told reads the certificates of all the web's authorities before its first
request, which takes longer than most answers.
"""

from __future__ import annotations

import ssl

NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
