"""`python -m tests.fuzz`: damaged, lying and hostile files for every reader of files that somebody else may have made."""
