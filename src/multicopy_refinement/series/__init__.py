"""Series: one model that holds all states, many data sets, one fraction of a state in each."""
