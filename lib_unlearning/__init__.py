"""Membership inference against machine unlearning (Chen et al., ACM CCS 2021)."""
