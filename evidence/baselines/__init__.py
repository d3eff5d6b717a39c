"""The schedulers that Andes is compared with: pure policies, snapshot in, plan out.

The product never imports them. An engine runs one where its settings name it, as in
`policy: evidence.baselines.paper:PaperPolicy`.
"""
