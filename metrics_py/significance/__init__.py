"""Two-sample tests. Statistic, p-value, effect, interval and decision are fields of their own."""

from metrics_py.significance.categorical import chi_square, fisher_exact, g_test, smooth_test, two_proportion_z
from metrics_py.significance.numeric import (
    anderson_darling,
    cramer_von_mises,
    epps_singleton,
    ks_test,
    mann_whitney,
    welch_t,
)

__all__ = [
    "anderson_darling",
    "chi_square",
    "cramer_von_mises",
    "epps_singleton",
    "fisher_exact",
    "g_test",
    "ks_test",
    "mann_whitney",
    "smooth_test",
    "two_proportion_z",
    "welch_t",
]
