"""The policy ``a3c``: an actor-critic learns which cells are hard to fill in."""
