"""What a run leaves: the result record, the refined model and maps."""
