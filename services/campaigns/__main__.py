"""python -m services.campaigns api | relay | react | work | migrate | job NAME | parked …"""

import sys

from services.campaigns.app import SERVICE
from shared.commands import main

if __name__ == "__main__":
    sys.exit(main(SERVICE))
