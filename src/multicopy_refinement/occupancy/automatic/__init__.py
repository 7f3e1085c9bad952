"""Groups that follow from the model alone: residues, networks, copies, special positions."""
