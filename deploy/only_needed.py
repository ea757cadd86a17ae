"""Take out of an environment what one service does not need.

    python deploy/only_needed.py SERVICE pyproject.toml         # with the Python of the environment

The lock file is one for the whole suite and is installed whole, every hash checked; what is neither a dependency of the
core nor of the service's own group – nor of those in turn – is uninstalled, and so is what those bring along and nothing
here uses, and pip last of all.
"""

import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name

# uvicorn[standard]: reloading, websockets, configuration files. None is imported where none is asked for.
IDLE = {"watchfiles", "websockets", "pyyaml", "python-dotenv"}
# Where numbers belong and whose network they are on: 43 MB. Here they are only parsed and written.
IDLE_DATA = ("phonenumbers/geodata", "phonenumbers/carrierdata", "sqlalchemy/testing")
# The ways of writing dates and amounts of every country, 30 MB; customers are written to in these languages.
LOCALES = ("root", "en", "zh")


def closure(requirements: Iterable[str]) -> set[str]:
    """The names of the packages that these need on this machine, directly or not."""
    needed: set[tuple[str, str]] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) in needed:
                continue
            needed.add((name, wanted))
            try:
                inner = distribution(name).requires or []
            except PackageNotFoundError:
                raise SystemExit(f"{name} is needed and not in the lock file") from None
            waiting += [(Requirement(text), wanted) for text in inner]
    return {name for name, _ in needed}


def main(service: str, pyproject: str) -> None:
    project = tomllib.loads(Path(pyproject).read_text(encoding="utf-8"))["project"]
    needed = closure([*project["dependencies"], *project["optional-dependencies"][service]])
    here = {canonicalize_name(each.metadata["Name"]) for each in distributions()}
    idle = sorted(here - (needed - IDLE) - {"pip"})
    print(f"{service}: {len(needed - IDLE)} packages; not needed: {', '.join(idle) or 'none'}")
    if idle:
        subprocess.run([sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", *idle], check=True)
    site = Path(sysconfig.get_path("purelib"))
    for path in [
        *(site / folder for folder in IDLE_DATA if (site / folder).exists()),
        *(
            path
            for path in site.glob("babel/locale-data/*.dat")
            if path.stem.partition("_")[0] not in LOCALES
        ),
        *site.glob("pip"),
        *site.glob("pip-*.dist-info"),
        *Path(sys.prefix, "bin").glob("pip*"),
    ]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
