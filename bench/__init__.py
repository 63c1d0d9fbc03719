"""The published numbers: Icebrick beside its peers, on the same images, in the same run."""
