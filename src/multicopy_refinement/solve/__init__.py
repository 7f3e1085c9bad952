"""Maxima of a posterior, covariances, evidence."""
