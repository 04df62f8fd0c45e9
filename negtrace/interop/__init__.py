"""Other toolkits over the same encoders; each package is imported only when its module is used."""
