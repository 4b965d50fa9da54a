"""What the operator accepted: how it is named, kept, locked and recorded."""
