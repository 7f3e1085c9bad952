"""What a run leaves: its record, its files, its maps."""
