"""One forward pass, followed operation by operation: which tensors descend from the clip, and what is known of them.

It knows steps and rules' tensors, not which functions are registered: handlers are handed in. Operations, layers and
the twin import it.
"""
