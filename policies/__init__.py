"""Who picks the goal: baselines, people, learned policies. Importing this package imports none of them, and no torch."""
