"""Reports: one HTML file each, with everything in it, for who has no server."""
