"""The stage: a procedural world with ground truth, the nano model's teacher and judge."""
