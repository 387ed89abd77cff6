"""What people are shown: text from values, nothing else."""
