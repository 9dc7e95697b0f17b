"""How fast: sampling, training, data, streaming, drawing; and how far from what the machine could do.

To add a mode of sampling or of the training step, edit `MODES` in sampling.py or workload.py; a measurement of data is
one function, named in `PARTS` and `main` of data.py. Tables and flags come from benchmarks/report.py.
"""
