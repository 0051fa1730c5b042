"""How the embedded model `tiny-llava` is made from nothing. Not part of the package."""
