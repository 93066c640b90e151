"""Whatever goes wrong in alerting, the order write commits, somebody is told, and the alert exists in the end.

Every test really causes its fault: nothing is simulated. Then the same four questions: did the order write commit, is
the fault kept in alert_faults (or, where that is impossible, heard as a WARNING), and is the alert right once the cause
is mended and reconcile_orders() has run?
"""
