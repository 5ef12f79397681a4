"""Who picks the goal of a turn: random, cycle, human and learned policies."""
