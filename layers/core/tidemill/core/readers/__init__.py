"""Reading tables from files: CSV, JSON and Parquet in, bounded chunks of text columns out."""
