"""The command line: `pylvs ipvsadm` in one package, every other command in a module of its own."""
