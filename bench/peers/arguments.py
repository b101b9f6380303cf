"""What every peer is told on its command line."""

import argparse


def read() -> argparse.Namespace:
    """`fill` puts the messages into the peer's own store, `send` sends them and is what is timed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("fill", "send"), nargs="?", default="send")
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--port", type=int, required=True, help="of the sink")
    parser.add_argument("--store", default="", help="a file, a libpq address or a port, as the peer needs")
    parser.add_argument("--connections", type=int, default=10)
    return parser.parse_args()
