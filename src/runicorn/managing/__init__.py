"""Changes of runs that exist: labels, the recycle bin, lost runs."""
