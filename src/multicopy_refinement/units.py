"""Factors between the quantities of the field."""

#: B = 8 pi^2 U
EIGHT_PI_SQUARED = 78.95683520871486
