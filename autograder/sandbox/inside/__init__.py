"""What runs behind the walls; see autograder/sandbox."""
