"""`python -m maskwise ...` is `kedro run ...` of this project."""

import sys

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project


def main() -> None:
    """Run with the command line's arguments."""
    configure_project("maskwise")
    find_run_command("maskwise")(sys.argv[1:])


if __name__ == "__main__":
    main()
