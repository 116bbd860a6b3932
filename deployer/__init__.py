"""hybridmsg: brings an OpenStack cloud to the messaging its inventory describes, proves it, and can go back."""

__version__ = "0.1.0"
