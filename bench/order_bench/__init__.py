"""What bench/order_path.py and bench/compare.py share: tables to write to, the writes, the clocks and the reports."""
