"""What was evaluated and what came out: which run is which, logs read into one object, the tidy table."""
