"""The scorecard of a world: one measure a file, each on a `World`'s public contract alone.

Every measure can also be taken on the stage itself (`truth.StageWorld`), which checks the measure: if the stage fails
its own test, the test is wrong.
"""
