"""Database-native alerting for trading systems on PostgreSQL."""
