"""One file a revision, frozen once released: operations written out, never drover.db.schema as it is today."""
