"""`python -m crowetrade_operator.authorizer`."""

from __future__ import annotations

import sys

from crowetrade_operator.authorizer.main import main

sys.exit(main())
