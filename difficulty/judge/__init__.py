"""Judging a table of runs: the claims of the hypothesis, their rules, and a verdict on each."""
