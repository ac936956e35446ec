"""Conversion of models to files and to other libraries, and back."""
