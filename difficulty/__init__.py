"""Difficulty tiers and the statistics of what compression costs on them; needs neither torch nor lm_eval."""
