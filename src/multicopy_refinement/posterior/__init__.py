"""The likelihood and its priors over named blocks of unknowns."""
