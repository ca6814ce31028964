"""Known answers: the block, patches and the ViT."""
