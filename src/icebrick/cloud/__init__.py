"""OpenStack in our words. No type of the SDK gets out of here."""
