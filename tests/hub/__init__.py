"""Checkpoints go to the Hub: the real client, and a Hub of our own on this machine."""
