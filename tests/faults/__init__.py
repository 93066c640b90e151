"""Faults in alerting: the order write still commits, the fault is reported, and the alert exists in the end.

Every test really causes its fault: nothing is simulated. It then checks four things: did the order write commit, is
the fault kept in alert_faults (or, where that is impossible, raised as a WARNING), and is the alert right once the cause
is mended and reconcile_orders() has run?
"""
