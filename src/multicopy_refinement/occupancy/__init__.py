"""Which atoms share one occupancy, which groups are tied by sums, and why."""
