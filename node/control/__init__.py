"""The control desk: events become parameter values; cues, modulators, snapshots, undo, the control log."""
