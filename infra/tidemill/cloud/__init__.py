"""What is proved about AWS without an account: the expanded template, its rules, the layers and their sizes."""
