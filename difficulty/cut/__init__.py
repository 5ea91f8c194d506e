"""Cutting a benchmark into tiers of difficulty: what makes an item hard, and where one tier ends."""
