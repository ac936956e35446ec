"""Models to files and to other libraries, and back."""
