"""The lab: whole LVS networks in network namespaces, with real servers behind a real director."""
