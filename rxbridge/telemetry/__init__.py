"""What rxbridge tells about itself: counters and log lines."""
