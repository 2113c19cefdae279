"""From an image, a folder or a video to people."""
