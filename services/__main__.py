"""python -m services [run] | verify | replay | republish | demo | down"""

import sys

from services.suite.commands import main

if __name__ == "__main__":
    sys.exit(main())
