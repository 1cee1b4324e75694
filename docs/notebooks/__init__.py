"""The notebooks as pages, with what they show. `make notebooks` runs them, and writes the pages anew."""
