"""The scorecard of a world: one measure a file, each on a `World`'s public contract alone.

Every measure can be taken on the stage itself (`truth.StageWorld`), which is how the measure is judged: where the stage
fails its own test, the test is wrong.
"""
