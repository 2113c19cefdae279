"""The programs of the table of runtimes belong to other environments, which have what they import."""

collect_ignore = ["runtimes/programs"]
