"""The relay: it sends the deliveries that the database decides on. All rules are SQL; these modules send and report."""
