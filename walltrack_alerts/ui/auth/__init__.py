"""Who may use the panel: ways of logging in, the login page, and the middleware in front of every route."""
