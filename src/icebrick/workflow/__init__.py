"""What the operator asks for: joins repository, engine, cloud and attach."""
