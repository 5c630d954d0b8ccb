"""Small weights that come with the course, trained on rendered faces and synthetic speech only; see the model card."""
