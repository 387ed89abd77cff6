"""The kernel's own IPVS as a director: its table by generic netlink, its knobs and connections by /proc."""
