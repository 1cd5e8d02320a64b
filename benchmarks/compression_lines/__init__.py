"""Lines of `benchmarks.compression`: a module for each claim that it tests and prints."""
