"""The sandbox gateway: a payment gateway of our own, over real HTTP, where no money exists."""
