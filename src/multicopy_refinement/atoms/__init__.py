"""Frozen table of atoms, and the rules that group their occupancies."""
