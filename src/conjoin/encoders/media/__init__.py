"""Reading pictures, sounds and videos, whole and in crops."""
