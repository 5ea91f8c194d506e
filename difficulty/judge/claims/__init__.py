"""The six claims, one file each; `difficulty.judge.fit` puts them together."""
