"""Staff: who has an account, what she may do, and how she gets in. What she does is in the use cases beside."""
