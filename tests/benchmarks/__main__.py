"""`python -m tests.benchmarks [name …]`: measure, print and write the tables. Without a name: all of them."""

import importlib
import sys

from tests.benchmarks import report

SECTIONS = {
    "purchase_http": "One purchase over HTTP",
    "apply_events": "Applying events",
    "real_file": "The real file",
    "import_limit": "Importing purchases",
    "latency": "From purchase to score and points",
    "idle": "Memory at rest",
    "customer_lists": "A million customers",
    "contact_points": "Contact points",
    "related_products": "Related products and recommendations",
    "customer_models": "Clusters and the forecast of spend",
    "model_fit": "Models of a million customers",
    "watch": "The watch",
    "calibration": "A whole calibration",
    "population": "Population work",
}


def main(names: list[str]) -> int:
    met = True
    for name in names or SECTIONS:
        if name not in SECTIONS:
            print(f"no benchmark {name!r}; there are: {', '.join(SECTIONS)}", file=sys.stderr)
            return 2
        figures = importlib.import_module(f"tests.benchmarks.{name}").measure()
        print(report.write(SECTIONS[name], figures), flush=True)
        met = met and all(figure.met for figure in figures)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
