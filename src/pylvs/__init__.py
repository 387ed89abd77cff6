"""pylvs: a complete Linux Virtual Server in Python, with an eBPF data plane."""

__version__ = "0.1.0"
