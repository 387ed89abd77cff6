"""Connections told from one director to another, in the words of IPVS's own sync protocol."""
