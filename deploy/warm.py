"""Import whatever the processes of one service import, so that its byte code is there:  python warm.py SERVICE"""

import importlib
import pkgutil
import sys
from collections.abc import Iterator

# What is imported late, by name, by one process or another.
LATE = (
    "alembic.command",
    "kafka",
    "psycopg_pool",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
)
# The embedded Postgres of one machine; migrations are read by Alembic only.
NEVER = ("shared.embedded", "migrations", "__main__", "postgres_bus")


def modules(package: str) -> Iterator[str]:
    found = importlib.import_module(package)
    yield package
    for each in pkgutil.walk_packages(found.__path__, f"{package}."):
        if not any(part in each.name for part in NEVER):
            yield each.name


sys.path.insert(0, ".")
for package in (f"services.{sys.argv[1]}", "shared"):
    for name in modules(package):
        importlib.import_module(name)
for name in LATE:
    importlib.import_module(name)
