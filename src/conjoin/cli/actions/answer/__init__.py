"""Documents read, and questions answered from them."""
