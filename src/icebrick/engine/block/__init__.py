"""A volume as an image: one file node whose content is fixed-size blocks."""
