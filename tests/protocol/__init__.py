"""
The commit protocol, explored: every interleaving of a few writers, collectors and readers over one store.

Decisions are made by the functions that the product executes (`engine.commit`, `engine.collection`, `engine.liveness`,
`repository.state.state_of`, `repository.entries`); the model adds the store, the order of requests and who stops where.
"""
