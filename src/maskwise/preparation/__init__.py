"""How an image becomes what a network sees, in the project and outside. Needs NumPy only."""

from maskwise.preparation.preparation import Preparation, averaged, upgraded

__all__ = ["Preparation", "averaged", "upgraded"]
