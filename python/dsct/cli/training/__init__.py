"""What ``dsct train`` is told: files, options, and what they mean for a run that goes on."""
