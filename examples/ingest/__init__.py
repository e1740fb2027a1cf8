"""Programs over `pingthings.ingest`, and simulated recordings and senders to try it with."""
