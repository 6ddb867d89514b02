"""The local stack: MiniStack with our guard in front and our Batch beside it, deployed from the same template."""
