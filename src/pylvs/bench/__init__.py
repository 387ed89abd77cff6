"""What a packet costs: the programs of the data plane under BPF_PROG_TEST_RUN, beside their yardsticks, in one run."""
