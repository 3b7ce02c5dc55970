"""What one operation of a forward pass does with relevance, for many seeds at once.

A step knows its rule and its tensors; it knows nothing of modules' code, of the clip, or of how many seeds there are.
`lazy_relevance` is relevance between two steps, `graph` how steps lie in autograd's graph. It may import rules and
compute.
"""
