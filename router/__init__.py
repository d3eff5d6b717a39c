"""Which replica gets the next stream. Only `router.request_router` knows Ray."""
