"""What a machine is in the cluster, brought up and taken down as a whole."""
