"""What a model can do without: groups that the data do not support, and conformers that are one."""
