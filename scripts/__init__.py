"""Hold what works on the checkout and is not part of the package."""
