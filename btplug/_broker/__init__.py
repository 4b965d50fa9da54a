"""What lends transports to a confined child: both ends of the line between them."""
