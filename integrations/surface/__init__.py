"""The surface: the page in a browser from which a show is played."""
