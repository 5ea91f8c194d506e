"""The paper's curves beside ours: digitised points are read, read with intervals, drawn under our curves, and compared by a rule."""
