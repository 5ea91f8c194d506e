"""The five claims, one file each; `difficulty.judge.fit` puts them together."""
