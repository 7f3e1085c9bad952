"""Many data sets: a table of them, refined on the workers of a Dask cluster, and what came out."""
