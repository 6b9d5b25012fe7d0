"""The landing zone's edge: files into raw records, whatever state the files are in."""
