"""Names of annotation files and places of images, as tools and people lay them out."""
