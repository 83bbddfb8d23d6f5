"""The simulated venue: recorded market data, an exchange of its own, faults on request.

recording.py reads files into tapes, replay.py says which event comes when, exchange.py matches orders, faults.py breaks
things on purpose, simulation.py joins the four without I/O, adapter.py makes a VenuePort of it inside the gateway's
process, server.py and client.py do so over TCP.
"""
