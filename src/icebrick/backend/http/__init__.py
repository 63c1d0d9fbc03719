"""HTTP as the storage media that speak it need it."""
