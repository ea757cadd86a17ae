"""The table that `make bench` writes."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"


@dataclass(frozen=True)
class Figure:
    """One row: what was measured, what must be at least true, what came out."""

    measure: str
    target: str
    measured: str
    met: bool


def write(section: str, figures: list[Figure]) -> str:
    """Put a section's table into RESULTS.md in the place of its last one; returns the table."""
    rows = [f"| {f.measure} | {f.target} | {f.measured} | {'yes' if f.met else '**no**'} |" for f in figures]
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    table = "\n".join(
        [
            f"## {section}",
            "",
            f"{when}, {platform.python_implementation()} {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores",
            "",
            "| measure | at least | measured | met |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )
    kept = [part for part in sections() if not part.startswith(f"## {section}\n")]
    RESULTS.write_text("\n".join([HEAD, *sorted([*kept, table])]))
    return table


def sections() -> list[str]:
    text = RESULTS.read_text() if RESULTS.exists() else ""
    return [f"## {part.strip()}\n" for part in text.split("## ")[1:]]


HEAD = """# Benchmarks

Written by `make bench`. Ratios against the raw limit on the same machine in the same run; absolute figures are those of
a shared machine with two cores. Methods stand in the docstring of each module beside this file.
"""
