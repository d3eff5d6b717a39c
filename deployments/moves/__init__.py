"""A stream that waits on one replica goes on through another; its client sees one stream.

`contract` is what the parts say to one another, `streams` who writes each stream,
`engine_client` the only part that knows vLLM, `peers` the only one that knows Ray, and
`replica` puts them together.
"""
