"""Who may use the panel: login methods, the login page, and the middleware in front of every route."""
