"""What may be stored: each value is taken as it is, made into one that may, or refused."""
