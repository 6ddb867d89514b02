"""What the sample layer holds."""

GREETING = "hello from the layer"
