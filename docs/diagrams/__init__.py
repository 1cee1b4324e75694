"""The pictures of the operators: runnable scenes, and what they draw. `make diagrams` draws them anew."""
