"""The demo page: `static/` is served at `/demo`, as it is."""
