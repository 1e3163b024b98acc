"""What the server costs, beside a reference in the same run (see ``bench.py``)."""
