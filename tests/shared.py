"""Where tests on real images find them."""

import os

from project import PROJECT

SHARED = PROJECT / os.environ.get("MASKWISE_SHARED", "../shared/data")
