"""What commands do: call project and print what it returns."""
