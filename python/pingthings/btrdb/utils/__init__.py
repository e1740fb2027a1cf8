"""Times, point widths, annotations and credentials, under the names of the older client."""
