"""What builds and checks pylvs, and is not part of it: the data plane's compiler and the generators."""
