"""The five claims, one file each; `difficulty.fit` puts them together."""
