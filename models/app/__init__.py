"""What the programs share: recordings, videos, streams, styles from files, flag groups.

To add a flag of demo.py: demo_flags.py.
"""
