"""Store: where bytes lie. The data folder, the database, blobs and the keyring."""
