"""Whoever calls in without a proof is counted, by address; whoever has one never is.

Counted in this process alone, so that no store that is away or slow can cost a genuine message,
or hold one up. Each web process counts for itself: the bounds are for a flood, not for fairness.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import Counter

# A gateway tells again, for days, what it was not answered for; so nothing true is lost by these.
UNSIGNED_PER_MINUTE_MAX = 600
# A forgery costs no more than its signature: nothing is read or stored for it.
FORGED_PER_MINUTE_MAX = 6_000
# Of addresses in one minute; all others are turned away until the next.
ADDRESSES_MAX = 50_000
_IPV6_PREFIX_BITS = 64

_counting = threading.Lock()
_counted: Counter[str] = Counter()
_counted_in = 0


def admits(address: str, *, most: int) -> bool:
    """This function will count a message without proof, and say whether it is still heard."""
    global _counted_in  # noqa: PLW0603 - the minute belongs to the counts
    network = _network(address)
    with _counting:
        minute = _minute()
        if minute != _counted_in:
            _counted.clear()
            _counted_in = minute
        if network not in _counted and len(_counted) >= ADDRESSES_MAX:
            return False
        if _counted[network] >= most:
            return False
        _counted[network] += 1
        return True


def forget() -> None:
    """This function will begin to count anew."""
    with _counting:
        _counted.clear()


def _minute() -> int:
    return int(time.monotonic() // 60)


def _network(address: str) -> str:
    """Whoever has one long address has all of its network."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    return str(ipaddress.ip_network((found, _IPV6_PREFIX_BITS), strict=False).network_address)
