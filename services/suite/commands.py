"""The command line of the whole suite."""

import argparse
import gc
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from shared.embedded.binaries import NoPostgres
from shared.embedded.postgres import CannotStart
from shared.messaging.bus import BusUnavailable
from shared.settings import SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. What stands in the way is said in a line or two, without a stack trace."""
    parser = argparse.ArgumentParser(prog="python -m services", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="the whole suite on one port, in the foreground (the default)")
    commands.add_parser("verify", help="state hashes, queues and invariants of every service, as JSON")
    commands.add_parser("replay", help="every consumer reads every topic again from its start")
    commands.add_parser("republish", help="fill an empty bus from the outboxes")
    demo = commands.add_parser("demo", help="fill the running suite with customers")
    demo.add_argument("--data", help="the Online Retail file (csv or csv.gz) instead of generated customers")
    demo.add_argument("--customers", type=int, default=400, help="how many generated customers (default 400)")
    commands.add_parser("down", help="stop the suite of this data directory and its Postgres")
    commands.add_parser("check-migrations", help="compare every service's tables with its migrations")
    child = commands.add_parser("child")
    child.add_argument("role", choices=["react", "work"])
    child.add_argument("lifeline", type=int, help="a pipe that closes when the parent is gone")
    given = parser.parse_args(arguments)
    try:
        return _COMMANDS[given.command or "run"](given)
    except (BusUnavailable, CannotStart, NoPostgres, SettingsError) as problem:
        print(problem, file=sys.stderr)
        return 2


def _run(given: Any) -> int:
    # Nothing of what a start loads is garbage, and looking for it takes a sixth of the start; spare_the_collector, called
    # when all is loaded, has the collector look again.
    gc.disable()
    from services.suite.run import run

    return run()


def _child(given: Any) -> int:
    from services.suite.children import run_child

    return run_child(given.role, given.lifeline)


def _verify(given: Any) -> int:
    from services.suite.verify import verify

    told = verify()
    print(json.dumps({name: part.printed() for name, part in told.items()}, indent=2))
    return 0 if all(all(part.invariants.values()) for part in told.values()) else 1


def _replay(given: Any) -> int:
    from services.suite.replay import replay

    print(json.dumps(replay()))
    return 0


def _republish(given: Any) -> int:
    from services.suite.replay import republish

    print(json.dumps(republish()))
    return 0


def _demo(given: Any) -> int:
    from services.suite.demo import demo

    return demo(given.data, given.customers)


def _down(given: Any) -> int:
    from services.suite.run import down

    return down()


def _check_migrations(given: Any) -> int:
    from services.suite.verify import check_migrations

    return check_migrations()


_COMMANDS: dict[str, Callable[[Any], int]] = {
    "run": _run,
    "child": _child,
    "verify": _verify,
    "replay": _replay,
    "republish": _republish,
    "demo": _demo,
    "down": _down,
    "check-migrations": _check_migrations,
}
