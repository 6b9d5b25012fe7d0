"""The page on which a person labels rows; bound to loopback."""
