"""What tests of policies that hide cells share."""

from scipy.stats import chi2
from torch import Tensor


def uniform_share(made: Tensor) -> float:
    """Return how likely cells hidden at random differ so much in how often they are hidden.

    Of K of L cells, drawn n times, a cell's count has the variance n K/L (1 - K/L), and the L
    counts are bound by their sum: a chi-square of L - 1 degrees of freedom.
    """
    number, cells = len(made), made[0].numel()
    rate = float(made[0].sum()) / cells
    counts = made.flatten(1).double().sum(0)
    spread = number * rate * (1 - rate) * cells / (cells - 1)
    return float(chi2.sf(float((counts - number * rate).square().sum()) / spread, cells - 1))
