"""`python -m tests.model SEED [--drop PARTS]`: a seed's history, and where engine and model part.

Leave parts out until the difference is gone: the last part that was left out has to do with it.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from tests.model.comparing import difference
from tests.model.drawing import PARTS, draw


def main() -> None:
    """This function will print a history and the first bill that differs."""
    parser = ArgumentParser(prog="python -m tests.model")
    parser.add_argument("seed", type=int)
    parser.add_argument("--drop", default="", help=f"of {', '.join(PARTS)}, with commas")
    asked = parser.parse_args()
    drop = [part for part in asked.drop.split(",") if part]
    history = draw(asked.seed, drop)
    told = [f"{history.zone} {history.currency}, billing day {history.billing_day}"]
    told += [f"plan {name}: {charge}" for name, plan in history.plans.items() for charge in plan]
    told += [str(act) for act in history.acts]
    told += [str(each) for each in (*history.gifts, *history.coupons, *history.unread)]
    told.append(f"visits: {', '.join(map(str, history.visits))}")
    told.append(str(difference(asked.seed, drop) or "engine and model agree"))
    sys.stdout.write("\n".join(told) + "\n")


main()
