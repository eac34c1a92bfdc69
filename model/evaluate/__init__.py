"""The scorecard of a world, and the probe that judges it."""
