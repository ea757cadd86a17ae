"""python -m services.profile api | relay | react | work | migrate | job NAME | parked"""

import sys

from services.profile.app import SERVICE
from shared.commands import main

if __name__ == "__main__":
    sys.exit(main(SERVICE))
