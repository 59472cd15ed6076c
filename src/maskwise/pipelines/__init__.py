"""One module per stage: node functions of a few lines, and the names of what goes in and out.

torch and pandas are imported inside the functions: `kedro --help` loads this package.
"""
