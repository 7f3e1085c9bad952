"""The terms of the geometry, one file a kind."""
