"""Difficulty tiers of any lm-eval task: building them, running them, and the ready-made groups."""
