"""What is compared: each module is a program of its own, written as people write such bridges by hand."""
