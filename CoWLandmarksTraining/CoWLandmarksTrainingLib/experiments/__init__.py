"""The comparison of the paper's Table 1: one cohort, one row for each method, one table."""

THIRD_PARTY = ("numpy", "scipy", "torch")
