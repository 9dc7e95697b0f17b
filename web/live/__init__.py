"""Live talking heads for other programs: `python -m web.serve`.

To change what a session does, edit session.py; the messages, protocol.py and protocol.schema.json; who may connect,
server.py. Only server.py knows of sockets.
"""
