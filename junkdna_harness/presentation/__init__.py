"""What every output shares: how text and numbers are written for a person, a page or a program."""
