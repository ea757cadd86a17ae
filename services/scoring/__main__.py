"""python -m services.scoring api | relay | react | work | migrate | job NAME | parked … | rebuild | export-facts DIR"""

import sys

from services.scoring.app import SERVICE
from shared.commands import main

if __name__ == "__main__":
    sys.exit(main(SERVICE))
