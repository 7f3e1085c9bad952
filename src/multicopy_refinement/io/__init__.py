"""Reading and writing of coordinate and reflection files."""
